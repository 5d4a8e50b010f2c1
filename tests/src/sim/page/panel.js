// What is told of the event that is looked at.

let list = RUN.failure ? 'led' : 'near';

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Looks at a line; the picture follows where it has to. */
function choose(line, moves = true) {
  if (line < 0 || line >= LINES.count) return;
  chosen.line = line;
  showDetail();
  showReplicas(LINES.at[line]);
  showList();
  if (moves) reveal(LINES.at[line]);
  else redraw();
  const spot = spotOf(line), scroller = document.getElementById('scroller');
  if (spot && moves && (spot[1] < scroller.scrollTop || spot[1] > scroller.scrollTop + scroller.clientHeight)) {
    scroller.scrollTop = spot[1] - scroller.clientHeight / 2;
  }
  rememberInAddress();
}

/** Looks at the next or the one before of those that are shown. */
function step(by) {
  let line = chosen.line < 0 ? lineFrom((view.from + view.to) / 2) - by : chosen.line;
  do line += by; while (line >= 0 && line < LINES.count && !isShown(line));
  choose(line);
}

function showDetail() {
  const box = document.getElementById('detail');
  const line = chosen.line;
  box.replaceChildren();
  if (line < 0) {
    box.append(element('div', 'when', 'Click anything in the picture, or step with the arrow keys.'));
    return;
  }
  const group = LINES.group[line] < 0 ? '' : `, group ${RUN.groups[LINES.group[line]]}`;
  const who = `${whoOf(line)}${group}`;
  box.append(element('div', 'when', `${ms(LINES.at[line])} ms   ${who}   (event ${line + 1} of ${LINES.count})`));
  const fails = textOf(line).startsWith('DOES NOT HOLD');
  box.append(element('div', fails ? 'what bad' : 'what', textOf(line)));
  const flight = FLIGHT_OF.get(line);
  if (flight) {
    const ends = flight.end === RECEIVED ? `, arrives at ${ms(flight.then)} ms` : '';
    box.append(element('div', 'when', `${RUN.kinds[flight.kind]}: node ${RUN.nodes[flight.from]} \u2192 node ${RUN.nodes[flight.to]}${ends}`));
  }
}

/** A table of how everybody stands at a moment. */
function showReplicas(at) {
  const box = document.getElementById('replicas');
  const table = element('table');
  table.append(element('caption', '', `how the replicas stand at ${ms(at)} ms`));
  const head = element('tr');
  for (const name of ['node', 'role', 'term', 'log ends', 'commit', 'applied']) head.append(element('th', '', name));
  table.append(head);
  for (const group of [...shown.groups].sort((a, b) => a - b)) {
    for (const node of RUN.nodes.keys()) {
      if (!shown.nodes.has(node) || REPLICAS[node][group].length === 0) continue;
      table.append(replicaRow(node, group, replicaAt(node, group, at)));
    }
  }
  box.replaceChildren(table);
}

function replicaRow(node, group, state) {
  const row = element('tr', state === null ? 'down' : state.role === LEADER ? 'leads' : '');
  const many = shown.groups.size > 1 ? ` / ${RUN.groups[group]}` : '';
  row.append(element('td', '', `${RUN.nodes[node]}${many}`));
  if (state === null) {
    row.append(element('td', '', 'down'));
    return row;
  }
  const part = ['', ' (learner)', ' (no member)'][state.part];
  const follows = state.role === 0 && state.leader ? `follows ${state.leader}` : ROLES[state.role];
  row.append(element('td', '', `${follows}${part}${state.damaged ? ', damaged' : ''}`));
  for (const value of [state.term, state.last, state.commit, state.applied]) row.append(element('td', '', value));
  return row;
}

function showList() {
  for (const name of ['led', 'near', 'found']) {
    document.getElementById(`tab-${name}`).classList.toggle('on', list === name);
  }
  const box = document.getElementById('list');
  const lines = listed();
  box.replaceChildren(...lines.map(listItem));
  if (lines.length === 0) box.append(element('li', 'none', list === 'found' ? 'nothing found' : 'nothing here'));
  box.querySelector('.chosen')?.scrollIntoView({ block: 'nearest' });
}

function listed() {
  if (list === 'led') return chosen.led;
  if (list === 'found') return chosen.found.slice(0, 500);
  const middle = chosen.line < 0 ? lineFrom((view.from + view.to) / 2) : chosen.line;
  const lines = [];
  for (let line = middle - 1; line >= 0 && lines.length < 25; line -= 1) if (isShown(line)) lines.unshift(line);
  if (middle < LINES.count) lines.push(middle);
  for (let line = middle + 1; line < LINES.count && lines.length < 60; line += 1) if (isShown(line)) lines.push(line);
  return lines;
}

function listItem(line) {
  const last = RUN.failure && line === LINES.count - 1;
  const item = element('li', line === chosen.line ? 'chosen' : last ? 'fails' : '');
  item.append(element('time', '', ms(LINES.at[line])));
  const group = LINES.group[line] < 0 ? '' : ` g${RUN.groups[LINES.group[line]]}`;
  item.append(element('span', 'who', `${whoOf(line)}${group}`));
  item.append(element('span', 'said', last ? textOf(line).split('\n')[0].slice(0, 160) : textOf(line).slice(0, 300)));
  item.addEventListener('click', () => choose(line));
  return item;
}

function showVerdict() {
  const { failure } = RUN;
  const box = element('div', failure ? 'fails' : 'holds');
  if (failure) {
    box.append(element('b', '', `Seed ${RUN.seed} fails: ${failure.check}`));
    box.append(element('span', '', `  \u2014 ${failure.means} It did not, at ${ms(failsAt())} ms:`));
    box.append(element('div', 'why', readable(failure.what)));
  } else {
    box.append(element('b', '', `Seed ${RUN.seed}: everything has held`));
    box.append(element('div', '', `${LINES.count} events in ${ms(RUN.end, 0)} ms`));
  }
  box.append(element('code', '', RUN.command));
  document.getElementById('verdict').append(box);
  document.title = `seed ${RUN.seed}: ${failure ? failure.check : 'holds'}`;
}

function showLegend() {
  const entries = [
    ['\u25a0', '#3f6fb5', 'solid bar: leader; a colour per term'], ['\u25a0', '#c5d5ec', 'pale: follower (thin: learner)'],
    ['\u25a8', '#3f6fb5', 'striped: stands for election'], ['\u2715', '#d11a2a', 'message lost or not received'],
    ['\u25cb', '#c81e2d', 'led to the failure'], ['\u2716', '#c81e2d', 'crash'], ['\u25b2', '#2c8a45', 'start'], ['\u26a1', '#c06000', 'fault'],
    ['\u25c6', '#3f5f9f', 'members, transfers, troubles'], ['\u2503', '#17713a', 'commit rises (below: applied)'],
    ['\u2501', '#d9480f', 'cut off'], ['\u2501', '#5f7fae', 'write and sync of the log'],
    ['\u25a0', ASK_COLOURS[0], 'operation done'], ['\u25a0', ASK_COLOURS[1], 'refused'], ['\u25a0', ASK_COLOURS[2], 'outcome unknown'],
  ];
  for (const [sign, colour, text] of entries) {
    const entry = element('span');
    const mark = element('i', '', sign);
    mark.style.color = colour;
    entry.append(mark, text);
    document.getElementById('legend').append(entry);
  }
}
