'use strict';
// The run, as the simulator wrote it down: arrays, so that the page stays small.

const RUN = JSON.parse(document.getElementById('run').textContent);
const ROLES = ['follower', 'would stand', 'candidate', 'leader'];
const LEADER = 3;
const TOPIC = Object.fromEntries(RUN.topics.map((name, number) => [name, number]));
const KIND = Object.fromEntries(RUN.kinds.map((name, number) => [name, number]));
// What became of a message.
const RECEIVED = 0, NOBODY = 1, CUT_ON_ITS_WAY = 2, CUT = 3, LOST = 4, OPEN = 5;
const DOWN = 0, WRITE = 1, CUT_OFF = 2, LASTING = 3;

/** The lines of the story, in columns. */
const LINES = (() => {
  const raw = RUN.lines;
  const at = new Float64Array(raw.at.length);
  let sum = 0;
  for (let i = 0; i < at.length; i += 1) {
    sum += raw.at[i];
    at[i] = sum;
  }
  return { count: at.length, at, topic: raw.topic, node: raw.node, group: raw.group, client: raw.client, text: raw.text };
})();

/** Messages on their way; the line of each tells what it says. */
const FLIGHTS = RUN.lines.flights.map(([line, to, kind, end, takes]) => ({
  line, to, kind, end,
  from: LINES.node[line],
  group: LINES.group[line],
  sent: LINES.at[line],
  then: LINES.at[line] + takes,
}));
const FLIGHT_OF = new Map(FLIGHTS.map((flight) => [flight.line, flight]));
/** The longest way of any message, so that those under way at a moment can be found. */
const LONGEST = FLIGHTS.reduce((most, flight) => Math.max(most, flight.then - flight.sent), 0);

const SPANS = RUN.spans
  .map(([kind, node, from, to, text]) => ({
    kind, node, from, to, text: RUN.texts[text],
    others: kind === CUT_OFF ? new Set(RUN.texts[text].match(/\d+/g)).size : 0,
  }))
  .sort((a, b) => a.from - b.from);

const ASKS = RUN.asks.map(([client, node, group, from, to, what, told, quality]) => ({
  client, node, group, from, to, quality, what: RUN.texts[what], told: RUN.texts[told],
}));

/** For each node and group, what the replica was, from when to when. */
const REPLICAS = RUN.nodes.map(() => RUN.groups.map(() => []));
(() => {
  for (const [node, group, at, role, term, leader, last, commit, applied, part, damaged] of RUN.states) {
    const all = REPLICAS[node][group];
    if (all.length > 0) all[all.length - 1].to = Math.min(all[all.length - 1].to, at);
    all.push({ from: at, to: RUN.end, role, term, leader, last, commit, applied, part, damaged });
  }
  // A process that is down is nothing.
  for (const down of SPANS.filter((span) => span.kind === DOWN)) {
    for (const all of REPLICAS[down.node]) {
      const before = lastAt(all, down.from, (state) => state.from);
      if (before >= 0) all[before].to = Math.min(all[before].to, down.from);
    }
  }
})();

/** The same, with what differs only by its log taken together: what is drawn as one bar. */
const BARS = REPLICAS.map((groups) => groups.map((all) => {
  const bars = [];
  for (const state of all) {
    const last = bars[bars.length - 1];
    const same = last && ['role', 'term', 'leader', 'part', 'damaged'].every((name) => last[name] === state[name]);
    if (same && state.from <= last.to + 1) last.to = state.to;
    else bars.push({ ...state });
  }
  return bars;
}));

/** The place of the last element at or before a moment, or -1. */
function lastAt(sorted, at, key) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(sorted[middle]) <= at) low = middle + 1; else high = middle;
  }
  return low - 1;
}

/** The first line at or after a moment. */
function lineFrom(at) {
  let low = 0, high = LINES.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (LINES.at[middle] < at) low = middle + 1; else high = middle;
  }
  return low;
}

/** How a replica stands at a moment; nothing where its node is down. */
function replicaAt(node, group, at) {
  const all = REPLICAS[node][group];
  const place = lastAt(all, at, (state) => state.from);
  return place >= 0 && at <= all[place].to ? all[place] : null;
}

function textOf(line) {
  const text = RUN.texts[LINES.text[line]];
  return text.startsWith('DOES NOT HOLD') ? readable(text) : text;
}

/** Histories name moments in nanoseconds of the world's own clock. */
function readable(text) {
  const moment = (ns) => ((Number(ns) - RUN.failure.begins_ns) / 1e6).toFixed(3);
  return text.replace(/\[(\d{9,}) \.\. (\d{9,})\]/g, (_, from, to) => `[${moment(from)} .. ${moment(to)} ms]`);
}

function whoOf(line) {
  if (LINES.node[line] >= 0) return `node ${RUN.nodes[LINES.node[line]]}`;
  if (LINES.client[line] >= 0) return `client ${LINES.client[line]}`;
  return '';
}

function ms(at, digits = 3) {
  return (at / 1000).toFixed(digits);
}

/** The colour of a term: neighbours differ much. */
function termColour(term, lightness = 45, saturation = 62) {
  return `hsl(${(210 + term * 137.508) % 360} ${saturation}% ${lightness}%)`;
}

const KIND_COLOURS = ['#8a2be2', '#1f6fd0', '#8b95a5', '#0a9a8a', '#b06a1c', '#444'];
const ASK_COLOURS = ['#3c9a57', '#b9c0ca', '#e08a1e'];
