// Mouse, keys, buttons, search, the overview and the address.

let overview, overviewPen;

function sizeOverview(ratio) {
  overview.width = Math.round(overview.clientWidth * ratio);
  overview.height = Math.round(overview.clientHeight * ratio);
  overviewPen.setTransform(ratio, 0, 0, ratio, 0, 0);
}

/** The whole run: who leads, what goes wrong, and which part is in sight. */
function drawOverview() {
  const wide = overview.clientWidth, high = overview.clientHeight;
  const x = (at) => (Math.min(Math.max(at, 0), RUN.end) / RUN.end) * wide;
  overviewPen.fillStyle = '#fff';
  overviewPen.fillRect(0, 0, wide, high);
  for (const node of RUN.nodes.keys()) {
    for (const group of RUN.groups.keys()) {
      for (const state of REPLICAS[node][group]) {
        if (state.role !== LEADER) continue;
        overviewPen.fillStyle = termColour(state.term);
        overviewPen.fillRect(x(state.from), 6 + group * 12, Math.max(x(state.to) - x(state.from), 0.5), 9);
      }
    }
    for (const [line, mark] of MARKS[node]) {
      if (LINES.topic[line] === TOPIC.notes) continue;
      overviewPen.fillStyle = mark.colour;
      overviewPen.fillRect(x(LINES.at[line]), 34, 1.5, 8);
    }
  }
  overviewPen.fillStyle = '#5a6475';
  overviewPen.font = '9px system-ui, sans-serif';
  overviewPen.fillText('leaders above, faults below: the whole run', 4, high - 4);
  if (RUN.failure) {
    overviewPen.fillStyle = '#c81e2d';
    overviewPen.fillRect(x(RUN.failure.at) - 2, 0, 3, high);
  }
  overviewPen.fillStyle = 'rgba(47, 95, 179, 0.14)';
  overviewPen.strokeStyle = '#2f5fb3';
  const left = x(view.from), right = Math.max(x(view.to), left + 3);
  overviewPen.fillRect(left, 0, right - left, high);
  overviewPen.strokeRect(left + 0.5, 0.5, right - left - 1, high - 1);
}

function listenToMouse() {
  let drag = null;
  canvas.addEventListener('wheel', (event) => {
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      pan((event.deltaX || event.deltaY) / 900);
    } else if (!event.altKey) {
      event.preventDefault();
      zoom(Math.exp(Math.max(-80, Math.min(80, event.deltaY)) / 300), toTime(event.offsetX));
    }
  }, { passive: false });
  canvas.addEventListener('mousedown', (event) => {
    drag = { x: event.clientX, from: view.from, to: view.to, moved: false };
  });
  window.addEventListener('mousemove', (event) => {
    if (!drag) return;
    const by = (event.clientX - drag.x) / scale();
    if (Math.abs(event.clientX - drag.x) > 3) drag.moved = true;
    if (drag.moved) look(drag.from - by, drag.to - by);
  });
  window.addEventListener('mouseup', () => {
    const moved = drag?.moved;
    drag = null;
    if (moved) rememberInAddress();
  });
  canvas.addEventListener('click', (event) => {
    const line = hit(event.offsetX, event.offsetY);
    if (line < 0) return;
    if (list === 'found') list = 'near';
    choose(line, false);
  });
  canvas.addEventListener('dblclick', (event) => zoom(0.4, toTime(event.offsetX)));
  canvas.addEventListener('mousemove', (event) => {
    if (drag) return;
    const line = hit(event.offsetX, event.offsetY);
    canvas.title = line < 0 ? '' : `${ms(LINES.at[line])} ms ${whoOf(line)}: ${textOf(line).slice(0, 300)}`;
  });
  let moving = false;
  const jump = (event) => {
    const at = (event.offsetX / overview.clientWidth) * RUN.end, wide = view.to - view.from;
    look(at - wide / 2, at + wide / 2);
  };
  overview.addEventListener('mousedown', (event) => { moving = true; jump(event); });
  overview.addEventListener('mousemove', (event) => { if (moving) jump(event); });
  window.addEventListener('mouseup', () => { moving = false; });
}

function goToFailure() {
  if (!RUN.failure) return;
  // Votes that are named are part of it, however long ago they were given.
  const votes = chosen.led.filter((line) => FLIGHT_OF.has(line)).map((line) => LINES.at[line]);
  const at = failsAt();
  const wide = Math.min(Math.max(1500000, (at - Math.min(at, ...votes)) * 1.15), RUN.end);
  look(at - wide * 0.92, at + wide * 0.08);
  list = 'led';
  choose(blamed.culprit ? lineOfAsk(ASKS.find(isCulprit) ?? ASKS[0]) : LINES.count - 1, false);
}

const middle = () => (chosen.line >= 0 && LINES.at[chosen.line] >= view.from && LINES.at[chosen.line] <= view.to
  ? LINES.at[chosen.line] : (view.from + view.to) / 2);
const ACTIONS = {
  back: () => step(-1),
  forth: () => step(1),
  nearer: () => zoom(0.5, middle()),
  farther: () => zoom(2, middle()),
  whole: () => look(-0.02 * RUN.end, RUN.end * 1.02),
  failure: goToFailure,
};
const KEYS = {
  ArrowLeft: ACTIONS.back, ArrowRight: ACTIONS.forth, '+': ACTIONS.nearer, '=': ACTIONS.nearer,
  '-': ACTIONS.farther, 0: ACTIONS.whole, f: ACTIONS.failure, n: () => nextFound(1), N: () => nextFound(-1),
  '/': () => document.getElementById('search').focus(), a: () => pan(-0.3), d: () => pan(0.3),
};

function listenToKeys() {
  for (const [id, action] of Object.entries(ACTIONS)) document.getElementById(id).addEventListener('click', action);
  document.getElementById('failure').hidden = !RUN.failure;
  const search = document.getElementById('search');
  search.addEventListener('input', () => find(search.value));
  search.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') nextFound(event.shiftKey ? -1 : 1);
    if (event.key === 'Escape') search.blur();
    event.stopPropagation();
  });
  window.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = event.shiftKey && event.key === 'ArrowLeft' ? () => pan(-0.3)
      : event.shiftKey && event.key === 'ArrowRight' ? () => pan(0.3) : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  for (const name of ['led', 'near', 'found']) {
    document.getElementById(`tab-${name}`).addEventListener('click', () => { list = name; showList(); });
  }
}

/** Finds lines with all of the words. */
function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word);
  chosen.found = [];
  for (let line = 0; line < LINES.count && words.length > 0; line += 1) {
    const group = LINES.group[line] < 0 ? '' : `group ${RUN.groups[LINES.group[line]]}`;
    const told = `${whoOf(line)} ${group} ${textOf(line)}`.toLowerCase();
    if (isShown(line) && words.every((word) => told.includes(word))) chosen.found.push(line);
  }
  document.getElementById('found').textContent = words.length > 0 ? `${chosen.found.length} found` : '';
  list = words.length > 0 ? 'found' : 'near';
  showList();
}

function nextFound(by) {
  const { found, line } = chosen;
  if (found.length === 0) return;
  const after = found.findIndex((one) => one > line);
  const before = found.filter((one) => one < line).length - 1;
  const place = by > 0 ? (after < 0 ? 0 : after) : (before < 0 ? found.length - 1 : before);
  choose(found[place]);
}

function showFilters() {
  const box = document.getElementById('filters');
  const set = (title, members, names, colours) => {
    const row = element('div', 'set');
    row.append(element('span', '', title));
    names.forEach(([value, name], place) => {
      const button = element('button', members.has(value) ? 'on' : '');
      if (colours) {
        const swatch = element('i', 'swatch');
        swatch.style.background = colours[place];
        button.append(swatch);
      }
      button.append(name);
      button.title = 'click: on or off; double click: only this';
      const toggle = () => {
        if (members.has(value)) members.delete(value); else members.add(value);
        button.classList.toggle('on', members.has(value));
        refilter();
      };
      button.addEventListener('click', toggle);
      button.addEventListener('dblclick', () => {
        members.clear();
        members.add(value);
        for (const other of row.querySelectorAll('button')) other.classList.toggle('on', other === button);
        refilter();
      });
      row.append(button);
    });
    box.append(row);
  };
  set('groups', shown.groups, RUN.groups.map((id, place) => [place, `${id}`]));
  set('nodes', shown.nodes, RUN.nodes.map((id, place) => [place, `${id}`]));
  set('messages', shown.kinds, RUN.kinds.map((name, place) => [place, name]), KIND_COLOURS);
  set('more', shown.more, [['clients', 'clients'], ['writes', 'writes'], ['commits', 'commits']]);
}

function refilter() {
  resize();
  if (chosen.line >= 0) showReplicas(LINES.at[chosen.line]);
  showList();
}

/** The address names the moment, so that it can be sent to somebody. */
function rememberInAddress() {
  const part = `#at=${Math.round(view.from)}-${Math.round(view.to)}&event=${chosen.line}`;
  history.replaceState(null, '', part);
}

function goToAddress() {
  const at = /at=(-?\d+)-(-?\d+)/.exec(location.hash), event = /event=(\d+)/.exec(location.hash);
  if (!at) return false;
  look(Number(at[1]), Number(at[2]));
  if (event) choose(Number(event[1]), false);
  return true;
}

function begin() {
  canvas = document.getElementById('lanes');
  pen = canvas.getContext('2d');
  overview = document.getElementById('overview');
  overviewPen = overview.getContext('2d');
  // Nodes that have never been there are of no use at first.
  shown.nodes = new Set([...RUN.nodes.keys()].filter((node) => REPLICAS[node].some((all) => all.length > 0)));
  if (blamed.group >= 0) shown.groups = new Set([blamed.group]);
  showVerdict();
  showFilters();
  showLegend();
  showDetail();
  resize();
  listenToMouse();
  listenToKeys();
  window.addEventListener('resize', resize);
  window.addEventListener('hashchange', goToAddress);
  if (!goToAddress()) {
    if (RUN.failure) goToFailure(); else ACTIONS.whole();
  }
  showReplicas(chosen.line < 0 ? RUN.end : LINES.at[chosen.line]);
  showList();
}

begin();
