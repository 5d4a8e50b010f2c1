// The lanes: what nodes are, what goes wrong with them, and time.

const FONT = '11px system-ui, "Segoe UI", "DejaVu Sans", sans-serif';

function drawAll() {
  pen.font = FONT;
  pen.textBaseline = 'middle';
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = '#f6f7f9';
  pen.fillRect(0, 0, width, height);
  drawBackground();
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, width - LEFT, height);
  pen.clip();
  for (const lane of lanes.nodes) drawNode(lane);
  drawArrows();
  for (const lane of lanes.nodes) drawMarks(lane);
  drawAsks();
  drawWords();
  drawLed();
  drawFailure();
  drawChosen();
  pen.restore();
  drawLabels();
  drawAxis();
  drawOverview();
  document.getElementById('position').textContent =
    `${ms(Math.max(view.from, 0), 1)} to ${ms(Math.min(view.to, RUN.end), 1)} ms of ${ms(RUN.end, 1)} ms`;
}

function drawBackground() {
  pen.fillStyle = '#fff';
  for (const lane of lanes.nodes) pen.fillRect(LEFT, lane.top, width - LEFT, lane.bottom - lane.top);
  const over = toX(RUN.end);
  pen.fillStyle = '#e7eaef';
  if (over < width) pen.fillRect(Math.max(over, LEFT), AXIS, width - over, height);
  const zero = toX(0);
  if (zero > LEFT) pen.fillRect(LEFT, AXIS, zero - LEFT, height);
}

function drawAxis() {
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, width, AXIS);
  pen.fillStyle = '#4a5464';
  pen.strokeStyle = '#e2e6ec';
  pen.textAlign = 'center';
  const step = stepFor(90);
  const digits = step >= 1000 ? 0 : step >= 100 ? 1 : step >= 10 ? 2 : 3;
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    const x = toX(at);
    if (x < LEFT) continue;
    pen.fillText(ms(at, digits), x, 10);
    pen.beginPath();
    pen.moveTo(x + 0.5, AXIS - 4);
    pen.lineTo(x + 0.5, AXIS);
    pen.stroke();
  }
  pen.textAlign = 'left';
  pen.fillText('ms', LEFT - 22, 10);
}

function drawLabels() {
  pen.fillStyle = '#f6f7f9';
  pen.fillRect(0, 0, LEFT, height);
  pen.textAlign = 'left';
  for (const lane of lanes.nodes) {
    pen.fillStyle = blamed.nodes.has(lane.node) ? '#b3121f' : '#1c2330';
    pen.font = `bold 13px system-ui, "DejaVu Sans", sans-serif`;
    pen.fillText(`node ${RUN.nodes[lane.node]}`, 8, lane.top + 10);
    pen.font = FONT;
    pen.fillStyle = '#5a6475';
    for (const [group, y] of lane.groups) pen.fillText(`group ${RUN.groups[group]}`, 18, y + 8);
  }
  for (const lane of lanes.clients) {
    pen.fillStyle = blamed.clients.has(lane.client) ? '#b3121f' : '#5a6475';
    pen.fillText(`client ${lane.client}`, 8, lane.top + 7);
  }
}

/** Calls `draw` for each element that is in sight; `all` is in order of `from`. */
function inSight(all, draw) {
  let place = Math.max(lastAt(all, view.from, (one) => one.from), 0);
  for (; place < all.length && all[place].from <= view.to; place += 1) draw(all[place]);
}

function drawNode(lane) {
  for (const [group, y] of lane.groups) {
    inSight(BARS[lane.node][group], (state) => drawState(y, state));
    if (shown.more.has('commits')) drawCommits(lane.node, group, y + 18);
  }
  for (const span of SPANS) {
    if (span.node !== lane.node || span.to < view.from || span.from > view.to) continue;
    const x = toX(span.from), wide = Math.max(toX(span.to) - x, 1);
    if (span.kind === DOWN) {
      stripes(x, lane.top + 18, wide, lane.bottom - lane.top - 18, '#3a4250', 0.16);
      label('down', x, lane.top + 26, wide, '#3a4250');
    } else if (span.kind === WRITE && shown.more.has('writes')) {
      pen.fillStyle = '#5f7fae';
      pen.fillRect(x, lane.disk, wide, 4);
    } else if (span.kind === CUT_OFF) {
      // Who is cut off from most others is the one that is alone.
      const alone = span.others * 2 >= shown.nodes.size - 1;
      pen.fillStyle = alone ? '#d9480f' : '#f0b79b';
      pen.fillRect(x, lane.top + 16, wide, alone ? 3 : 1);
      if (alone) label(span.text, x, lane.top + 9, wide, '#b23c0a');
    } else if (span.kind === LASTING) {
      stripes(x, lane.top, wide, lane.bottom - lane.top, '#c08a00', 0.2);
      label(span.text.replace(/^fault[^:]*: /, ''), x, lane.bottom - 5, wide, '#7a5800');
    }
  }
}

/** Text that fits into its place, and stays in sight. */
function label(text, x, y, wide, colour) {
  const start = Math.max(x, LEFT) + 4;
  const room = Math.min(x + wide, width) - start - 3;
  if (room < 16) return;
  let words = text;
  if (pen.measureText(words).width > room) {
    const each = 6;
    words = `${words.slice(0, Math.max(Math.floor(room / each) - 1, 1))}\u2026`;
    if (room < 40) return;
  }
  later.push([words, start, y, colour]);
}
const later = [];

/** What bars say stands above the arrows. */
function drawWords() {
  pen.textAlign = 'left';
  for (const [words, x, y, colour] of later) {
    if (colour !== '#fff') {
      pen.lineWidth = 2.5;
      pen.strokeStyle = 'rgba(255, 255, 255, 0.75)';
      pen.strokeText(words, x, y);
    }
    pen.fillStyle = colour;
    pen.fillText(words, x, y);
  }
  pen.lineWidth = 1;
  later.length = 0;
}

function stripes(x, y, wide, high, colour, alpha) {
  const left = Math.max(x, LEFT), right = Math.min(x + wide, width);
  if (right <= left) return;
  pen.save();
  pen.globalAlpha = alpha;
  pen.fillStyle = colour;
  pen.beginPath();
  pen.rect(left, y, right - left, high);
  pen.clip();
  pen.fillRect(left, y, right - left, high);
  pen.globalAlpha = alpha * 2;
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.beginPath();
  for (let at = left - high - (left % 9); at < right; at += 9) {
    pen.moveTo(at, y + high);
    pen.lineTo(at + high, y);
  }
  pen.stroke();
  pen.restore();
}

function drawState(y, state) {
  if (state.to < view.from) return;
  const x = Math.max(toX(state.from), LEFT - 2), wide = Math.max(Math.min(toX(state.to), width + 2) - x, 0.7);
  const colour = termColour(state.term);
  const high = 16;
  if (state.role === LEADER) {
    pen.fillStyle = colour;
    pen.fillRect(x, y, wide, high);
  } else if (state.part === 2) {
    pen.fillStyle = '#eceff3';
    pen.fillRect(x, y + 5, wide, 6);
  } else {
    pen.fillStyle = termColour(state.term, 84, 55);
    pen.fillRect(x, y + (state.part === 1 ? 4 : 1), wide, state.part === 1 ? 8 : high - 2);
    if (state.role > 0) stripes(x, y, wide, high, colour, state.role === 2 ? 0.6 : 0.3);
  }
  if (state.damaged) {
    pen.fillStyle = '#c81e2d';
    pen.fillRect(x, y + high - 3, wide, 3);
  }
  const colourOfText = state.role === LEADER ? '#fff' : '#2a3444';
  label(words(state), toX(state.from), y + 8.5, toX(state.to) - toX(state.from), colourOfText);
}

function words(state) {
  const part = state.part === 1 ? ', learner' : state.part === 2 ? ', no member' : '';
  if (state.role === LEADER) return `LEADER of term ${state.term}`;
  if (state.role === 0) {
    return state.leader ? `follows ${state.leader}, term ${state.term}${part}` : `follower, term ${state.term}${part}`;
  }
  return `${ROLES[state.role]}, term ${state.term}${part}`;
}

/** Where commit and applied rise. */
function drawCommits(node, group, y) {
  const all = REPLICAS[node][group];
  let place = Math.max(lastAt(all, view.from, (one) => one.from), 0);
  let labelled = -100;
  for (; place < all.length && all[place].from <= view.to; place += 1) {
    const now = all[place], before = all[place - 1];
    const x = toX(now.from);
    if (before ? before.commit < now.commit : now.commit > 0) {
      pen.fillStyle = '#17713a';
      pen.fillRect(x - 0.5, y - 1, 1.6, 7);
      if (x - labelled > 34) {
        pen.fillStyle = '#17713a';
        pen.textAlign = 'left';
        pen.fillText(`${now.commit}`, x + 2.5, y + 3);
        labelled = x;
      }
    }
    if (before ? before.applied < now.applied : now.applied > 0) {
      pen.fillStyle = '#8aa894';
      pen.fillRect(x - 0.5, y + 5, 1.4, 3);
    }
  }
}
