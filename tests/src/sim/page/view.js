// Which part of the run is seen, what of it, and where everything stands.

const LEFT = 74;
const AXIS = 22;
const view = { from: 0, to: RUN.end };
const shown = {
  groups: new Set(RUN.groups.keys()),
  nodes: new Set(RUN.nodes.keys()),
  kinds: new Set(RUN.kinds.keys()),
  more: new Set(['clients', 'writes', 'commits']),
};
/** The line that is looked at, the text searched for, and the lines that led to the failure. */
const chosen = { line: -1, found: [], led: [] };
let canvas, pen, width = 0, height = 0;

function toX(at) {
  return LEFT + ((at - view.from) / (view.to - view.from)) * (width - LEFT);
}

function toTime(x) {
  return view.from + ((x - LEFT) / (width - LEFT)) * (view.to - view.from);
}

/** How many pixels a microsecond is. */
function scale() {
  return (width - LEFT) / (view.to - view.from);
}

function look(from, to) {
  const least = 40, most = RUN.end * 1.06 + 1000;
  let wide = Math.min(Math.max(to - from, least), most);
  let start = Math.min(Math.max(from, -0.03 * RUN.end - 500), RUN.end * 1.03 + 500 - Math.min(wide, RUN.end));
  view.from = start;
  view.to = start + wide;
  redraw();
}

function zoom(factor, at) {
  const wide = (view.to - view.from) * factor;
  const share = (at - view.from) / (view.to - view.from);
  look(at - share * wide, at - share * wide + wide);
}

function pan(share) {
  const by = (view.to - view.from) * share;
  look(view.from + by, view.to + by);
}

/** Brings a moment into sight, without moving more than is needed. */
function reveal(at) {
  const wide = view.to - view.from;
  if (at < view.from + wide * 0.04 || at > view.to - wide * 0.04) {
    look(at - wide / 2, at + wide / 2);
  } else {
    redraw();
  }
}

/** The lanes from the top to the bottom. */
function layout() {
  const lanes = { nodes: [], clients: [], height: 0 };
  const groups = [...shown.groups].sort((a, b) => a - b);
  let y = AXIS + 6;
  for (const node of RUN.nodes.keys()) {
    if (!shown.nodes.has(node)) continue;
    const lane = { node, top: y, faults: y + 2, groups: new Map(), disk: 0, bottom: 0 };
    y += 20;
    for (const group of groups) {
      lane.groups.set(group, y);
      y += shown.more.has('commits') ? 28 : 22;
    }
    lane.disk = y;
    y += shown.more.has('writes') ? 8 : 2;
    lane.bottom = y;
    y += 22;
    lanes.nodes.push(lane);
  }
  if (shown.more.has('clients')) {
    y += 4;
    for (let client = 0; client < RUN.clients; client += 1) {
      if (!ASKS.some((ask) => ask.client === client)) continue;
      lanes.clients.push({ client, top: y });
      y += 17;
    }
  }
  lanes.height = y + 14;
  lanes.of = new Map(lanes.nodes.map((lane) => [lane.node, lane]));
  return lanes;
}
let lanes = layout();

/** Where messages of a group leave and reach a node. */
function portOf(node, group) {
  const lane = lanes.of.get(node);
  if (!lane) return null;
  const bar = lane.groups.get(group);
  return bar === undefined ? (lane.top + lane.bottom) / 2 + 4 : bar + 8;
}

let wanted = false;
/** Draws once more, soon. */
function redraw() {
  if (wanted) return;
  wanted = true;
  requestAnimationFrame(() => {
    wanted = false;
    drawAll();
  });
}

function resize() {
  lanes = layout();
  const scroller = document.getElementById('scroller');
  const ratio = window.devicePixelRatio || 1;
  width = scroller.clientWidth;
  height = Math.max(scroller.clientHeight, lanes.height);
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  sizeOverview(ratio);
  redraw();
}

/** A round step between marks on the axis, in microseconds. */
function stepFor(pixels) {
  const least = pixels / scale();
  let step = 10 ** Math.floor(Math.log10(least));
  for (const times of [1, 2, 5, 10]) {
    if (step * times >= least) return step * times;
  }
  return step * 10;
}

/** A line is wanted where what it is about is shown. */
function isShown(line) {
  const topic = LINES.topic[line];
  const group = LINES.group[line], node = LINES.node[line];
  if (group >= 0 && !shown.groups.has(group)) return false;
  const flight = FLIGHT_OF.get(line);
  if (flight) {
    return shown.kinds.has(flight.kind) && (shown.nodes.has(node) || shown.nodes.has(flight.to));
  }
  if (node >= 0 && !shown.nodes.has(node)) return false;
  if (topic === TOPIC.clients) return shown.more.has('clients');
  if (topic === TOPIC.disk) return shown.more.has('writes');
  if (topic === TOPIC.log) return shown.more.has('commits');
  return true;
}
