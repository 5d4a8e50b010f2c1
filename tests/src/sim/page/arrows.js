// Messages, clients, marks of what went wrong, and where it all failed.

/** Messages that leave or are on their way while the view lasts. */
function flightsInSight() {
  const from = view.from - LONGEST;
  let place = Math.max(lastAt(FLIGHTS, from, (flight) => flight.sent), 0);
  const all = [];
  for (; place < FLIGHTS.length && FLIGHTS[place].sent <= view.to; place += 1) {
    const flight = FLIGHTS[place];
    if (flight.then >= view.from && isShown(flight.line) && wayOf(flight)) all.push(flight);
  }
  return all;
}

/** From where to where an arrow goes; nothing where an end is not shown. */
function wayOf(flight) {
  const y = portOf(flight.from, flight.group), goal = portOf(flight.to, flight.group);
  if (y === null || goal === null) return null;
  const x = toX(flight.sent);
  if (flight.end === CUT || flight.end === LOST) {
    // Broken off: it would have taken about so long.
    return [x, y, x + Math.min(300 * scale(), 60), y + (goal - y) * 0.55];
  }
  if (flight.end === OPEN) {
    const to = Math.max(toX(RUN.end), x + 2);
    return [x, y, to, y + (goal - y) * 0.8];
  }
  return [x, y, toX(flight.then), goal];
}

function drawArrows() {
  const all = flightsInSight();
  const faint = Math.min(Math.max(500 / (all.length + 1), 0.05), 0.85);
  pen.lineWidth = all.length > 1500 ? 0.6 : 1;
  const heads = all.length < 900;
  for (const flight of all) {
    const [x, y, to, goal] = wayOf(flight);
    const gone = flight.end !== RECEIVED && flight.end !== OPEN;
    const vote = flight.kind === KIND.votes;
    pen.globalAlpha = flight.line === chosen.line || chosen.ledSet?.has(flight.line)
      ? 1 : Math.min(faint * (gone || vote ? 2.2 : flight.kind === KIND.heartbeats ? 0.55 : 1), 1);
    pen.strokeStyle = KIND_COLOURS[flight.kind];
    pen.fillStyle = pen.strokeStyle;
    pen.setLineDash(gone ? [4, 3] : []);
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(to, goal);
    pen.stroke();
    if (gone) cross(to, goal, 3.2, heads ? 1 : pen.globalAlpha);
    else if (heads) arrowHead(x, y, to, goal);
  }
  pen.setLineDash([]);
  pen.globalAlpha = 1;
  pen.lineWidth = 1;
}

function arrowHead(x, y, to, goal) {
  const turn = Math.atan2(goal - y, to - x);
  pen.beginPath();
  pen.moveTo(to, goal);
  pen.lineTo(to - 7 * Math.cos(turn - 0.38), goal - 7 * Math.sin(turn - 0.38));
  pen.lineTo(to - 7 * Math.cos(turn + 0.38), goal - 7 * Math.sin(turn + 0.38));
  pen.fill();
}

function cross(x, y, size, alpha = 1) {
  const before = pen.globalAlpha;
  pen.globalAlpha = alpha;
  pen.setLineDash([]);
  pen.strokeStyle = '#d11a2a';
  const wide = pen.lineWidth;
  pen.lineWidth = 1.6;
  pen.beginPath();
  pen.moveTo(x - size, y - size);
  pen.lineTo(x + size, y + size);
  pen.moveTo(x + size, y - size);
  pen.lineTo(x - size, y + size);
  pen.stroke();
  pen.lineWidth = wide;
  pen.globalAlpha = before;
}

/** What a line about a node shows as in its lane. */
function markOf(line) {
  const topic = LINES.topic[line], text = textOf(line);
  if (topic === TOPIC.faults) {
    if (text === 'is up') return { sign: '\u25b2', colour: '#2c8a45' };
    if (text.startsWith('is down')) return { sign: '\u2716', colour: '#c81e2d' };
    if (text.startsWith('is gone')) return { sign: '\u2716', colour: '#5b0f16' };
    return { sign: '\u26a1', colour: '#c06000' };
  }
  if (topic === TOPIC.notes) return { sign: '\u25c6', colour: '#3f5f9f' };
  if (topic === TOPIC.log && text.includes('disk')) return { sign: '\u25cf', colour: '#c81e2d' };
  return null;
}

/** Marks of faults, starts, ends and notes, in the upper row of a lane. */
function drawMarks(lane) {
  pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
  pen.textAlign = 'center';
  for (const [line, mark] of MARKS[lane.node]) {
    const at = LINES.at[line];
    if (at < view.from || at > view.to || !isShown(line)) continue;
    pen.fillStyle = mark.colour;
    pen.fillText(mark.sign, toX(at), lane.faults + 8);
  }
  pen.font = FONT;
}
const MARKS = RUN.nodes.map(() => []);
for (let line = 0; line < LINES.count; line += 1) {
  const mark = LINES.node[line] >= 0 && !FLIGHT_OF.has(line) ? markOf(line) : null;
  if (mark) MARKS[LINES.node[line]].push([line, mark]);
}

function drawAsks() {
  if (!shown.more.has('clients')) return;
  const tops = new Map(lanes.clients.map((lane) => [lane.client, lane.top]));
  for (const ask of ASKS) {
    if (ask.to < view.from || ask.from > view.to || !shown.groups.has(ask.group)) continue;
    const y = tops.get(ask.client), x = toX(ask.from);
    const wide = Math.max(toX(ask.to) - x, 1.5);
    pen.fillStyle = ASK_COLOURS[ask.quality];
    pen.globalAlpha = ask.quality === 1 ? 0.8 : 0.9;
    pen.fillRect(x, y + 1, wide, 12);
    pen.globalAlpha = 1;
    if (isCulprit(ask)) {
      pen.strokeStyle = '#c81e2d';
      pen.lineWidth = 2.5;
      pen.strokeRect(x - 2, y - 1, wide + 4, 16);
      pen.lineWidth = 1;
    }
    label(`${ask.what} \u2192 ${ask.told}`, x, y + 7.5, wide, ask.quality === 1 ? '#333' : '#fff');
  }
}

function drawFailure() {
  const failure = RUN.failure;
  if (!failure) return;
  const x = toX(failure.at);
  pen.strokeStyle = '#c81e2d';
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x, AXIS);
  pen.lineTo(x, height);
  pen.stroke();
  pen.font = 'bold 12px system-ui, "DejaVu Sans", sans-serif';
  const text = `${failure.check} does not hold`;
  const wide = pen.measureText(text).width + 14;
  const left = x - wide - 1 < LEFT ? x + 1 : x - wide - 1;
  pen.fillStyle = '#c81e2d';
  pen.fillRect(left, AXIS, wide, 18);
  pen.fillStyle = '#fff';
  pen.textAlign = 'left';
  pen.fillText(text, left + 7, AXIS + 9.5);
  pen.font = FONT;
  for (const lane of lanes.nodes) {
    if (!blamed.nodes.has(lane.node)) continue;
    for (const [group, y] of lane.groups) {
      if (blamed.group >= 0 && blamed.group !== group) continue;
      pen.strokeRect(x - 26, y - 2, 28, 20);
    }
  }
  pen.lineWidth = 1;
}

/** Rings around what led to the failure. */
function drawLed() {
  pen.strokeStyle = '#c81e2d';
  for (const line of chosen.led) {
    const spot = LINES.at[line] >= view.from && LINES.at[line] <= view.to && isShown(line) ? spotOf(line) : null;
    if (!spot) continue;
    pen.beginPath();
    pen.arc(spot[0], spot[1], 7, 0, 7);
    pen.stroke();
  }
}

function drawChosen() {
  if (chosen.line < 0) return;
  const x = toX(LINES.at[chosen.line]);
  pen.strokeStyle = '#2f5fb3';
  pen.setLineDash([3, 3]);
  pen.beginPath();
  pen.moveTo(x + 0.5, AXIS);
  pen.lineTo(x + 0.5, height);
  pen.stroke();
  pen.setLineDash([]);
  const spot = spotOf(chosen.line);
  if (!spot) return;
  pen.lineWidth = 2.5;
  const flight = FLIGHT_OF.get(chosen.line), way = flight && wayOf(flight);
  pen.beginPath();
  if (way) {
    pen.moveTo(way[0], way[1]);
    pen.lineTo(way[2], way[3]);
  } else {
    pen.arc(spot[0], spot[1], 9, 0, 7);
  }
  pen.stroke();
  pen.lineWidth = 1;
}
