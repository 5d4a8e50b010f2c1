// Whom a failure names, and what led to it.

/** The nodes, group, terms and clients that the reason of the failure names. */
const blamed = (() => {
  const named = { nodes: new Set(), group: -1, terms: new Set(), clients: new Set(), culprit: null };
  if (!RUN.failure) return named;
  const what = RUN.failure.what.split('\n  node ')[0];
  const numbers = (pattern) => [...what.matchAll(pattern)].flatMap((match) => match.slice(1).map(Number));
  const ids = [...numbers(/\bnode (\d+)/g), ...numbers(/\bn(\d+)\b/g), ...numbers(/both (\d+) and (\d+)/g)];
  for (const id of ids) {
    const place = RUN.nodes.indexOf(id);
    if (place >= 0) named.nodes.add(place);
  }
  for (const group of numbers(/\bgroup (\d+)/g)) named.group = RUN.groups.indexOf(group);
  for (const term of [...numbers(/\bterm (\d+)/g), ...numbers(/\bleader of (\d+)/g), ...numbers(/\d+@(\d+)/g), ...numbers(/term: t?(\d+)/gi)]) named.terms.add(term);
  const culprit = /nothing explains\s+\[(\d+) \.\. (\d+)\] client (\d+)/.exec(what);
  if (culprit) {
    const us = (ns) => Math.floor((Number(ns) - RUN.failure.begins_ns) / 1000);
    named.culprit = { from: us(culprit[1]), to: us(culprit[2]), client: Number(culprit[3]) };
    named.clients.add(named.culprit.client);
    const key = /operations on (\d+)/.exec(what);
    if (key) {
      named.key = Number(key[1]);
      named.group = named.key % RUN.groups.length;
    }
  }
  return named;
})();

function isCulprit(ask) {
  const { culprit } = blamed;
  return culprit !== null && ask.client === culprit.client && Math.abs(ask.to - culprit.to) <= 1;
}

/** Where the view goes: the failure, or the answer that nothing explains. */
function failsAt() {
  if (!RUN.failure) return 0;
  return blamed.culprit ? blamed.culprit.to : RUN.failure.at;
}

/** How much a line has to do with the failure: 0 is nothing. */
function concerns(line) {
  const topic = LINES.topic[line], node = LINES.node[line], group = LINES.group[line];
  const text = textOf(line);
  const ours = blamed.group < 0 || group < 0 || group === blamed.group;
  if (!ours) return 0;
  const named = node < 0 || blamed.nodes.size === 0 || blamed.nodes.has(node);
  if (topic === TOPIC.faults) return node < 0 || named ? 3 : 1;
  if (topic === TOPIC.roles) return text.startsWith('LEADS') ? 3 : text.startsWith('stands') && named ? 2 : 0;
  if (topic === TOPIC.notes) return named ? 2 : 0;
  if (topic === TOPIC.log) return text.includes('disk') ? 3 : 0;
  if (topic === TOPIC.messages) {
    if (text.includes('vote given: yes')) return isOfTerm(text) ? 3 : 0;
    return text.includes('vote for me!') && text.includes('(received') && isOfTerm(text) ? 2 : 0;
  }
  if (topic === TOPIC.clients && blamed.key !== undefined) {
    const ofKey = new RegExp(`key ${blamed.key}\\b`).test(text);
    if (!ofKey || text.startsWith('asks') || text.includes('-> refused')) return 0;
    return LINES.at[line] > blamed.culprit.to - 3e6 ? 3 : 1;
  }
  return 0;
}

function isOfTerm(text) {
  const term = /, term (\d+):/.exec(text);
  return term !== null && blamed.terms.has(Number(term[1]));
}

/** The lines that led to the failure, those with the most to do with it, the last ones first. */
function whatLed() {
  if (!RUN.failure) return [];
  const end = failsAt();
  const lines = [[], [], [], []];
  for (let line = LINES.count - 1; line >= 0; line -= 1) {
    const last = line === LINES.count - 1;
    if (LINES.at[line] > end && !last) continue;
    lines[last ? 3 : concerns(line)].push(line);
  }
  const most = 60;
  const all = [];
  for (const some of [lines[3], lines[2], lines[1]]) all.push(...some.slice(0, most - all.length));
  return all.sort((a, b) => a - b);
}
chosen.led = whatLed();
chosen.ledSet = new Set(chosen.led);
