
// Asking the node once a second, and showing what it says.

const EVERY_MS = 1000;
const PATIENCE_MS = 2500;
// Behind by as much a follower is said to be late: nobody sees less with the naked eye.
const LATE_ENTRIES = 1000;
const LATE_SECONDS = 1;

const ROLES = {
  "leader": "● leader", "follower": "○ follower",
  "candidate": "◐ candidate", "pre-candidate": "◔ pre-candidate",
};

const KINDS = {
  role: "Role", leader_seen: "Leader", leader_lost: "Leader lost", snapshot_taken: "Snapshot",
  snapshot_sent: "Snapshot sent", snapshot_installed: "Snapshot received", slow_sync: "Slow disk",
  overload_began: "Overload", overload_ended: "Overload over", peer_lost: "Peer lost",
  peer_found: "Peer found",
};

const view = {
  opened: Date.now(), now: Date.now(), lastAnswer: null, error: null, refusal: null,
  status: null, members: [], leader: null, samples: [], events: [],
};

// Also where the page is served below a path of another server.
const base = location.pathname.replace(/\/?$/, "/");

async function ask(path) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const answer = await fetch(base + path, { signal, cache: "no-store" });
  const body = await answer.json();
  if (answer.ok) return body;
  const why = new Error(body.error || "status " + answer.status);
  why.refused = true;
  throw why;
}

function reason(why) {
  if (why.name === "TimeoutError") return "No answer within " + PATIENCE_MS / 1000 + " s.";
  if (why instanceof SyntaxError) return "What answers is no node.";
  return "No connection to " + location.host + ".";
}

async function refresh() {
  const last = view.samples.length ? view.samples[view.samples.length - 1].time_ms : 0;
  const [status, cluster, history] = await Promise.allSettled([
    ask("status"), ask("status/cluster"), ask("status/history?since_ms=" + last),
  ]);
  view.now = Date.now();
  view.refusal = status.reason && status.reason.refused ? status.reason.message : null;
  view.error = status.reason ? reason(status.reason) : null;
  if (status.value) {
    view.status = status.value;
    view.lastAnswer = view.now;
  }
  if (cluster.value) view.members = cluster.value.members;
  else if (status.value) view.members = [{ id: status.value.node, self: true, status: status.value }];
  const leads = (member) => member.status && member.status.role === "leader";
  const newest = (a, b) => b.status.term - a.status.term;
  view.leader = view.members.filter(leads).sort(newest)[0] || null;
  if (history.value) {
    const news = history.value.samples.filter((one) => one.time_ms > last);
    // Where the clock was set back, all that is kept is of the future: begin again.
    if (view.status && view.status.time_ms < last - 5000) view.samples = [];
    view.samples = view.samples.concat(news).slice(-600);
    view.events = history.value.events;
  }
}

function showHead() {
  const { status, members } = view;
  if (!status) {
    setText(byId("where"), location.host);
    return;
  }
  byId("facts").hidden = false;
  const me = members.find((member) => member.self);
  setText(byId("cluster"), "Cluster " + status.cluster);
  setText(byId("where"), "as node " + status.node + (me && me.name ? " (" + me.name + ")" : "")
    + " at " + location.host + " sees it");
  setText(byId("leader"), status.leader == null ? "none known" : "node " + status.leader
    + (status.leader === status.node ? " (this one)" : ""));
  setText(byId("term"), count(status.term));
  setText(byId("commit"), count(status.commit) + " entries");
  setText(byId("up"), lasting(status.up_ms));
  setText(byId("version"), status.version);
  setText(byId("asof"), clock(status.time_ms));
}

// How far a member is behind the leader, in entries, and about how long that takes.
function behind(member) {
  const { leader, samples } = view;
  if (!leader || member === leader) return null;
  const peer = peerOf(leader, member);
  // A new leader knows nothing of whom it has not heard yet.
  if (!peer || peer.heard_ms == null) return { entries: null, seconds: null, isLate: false };
  const entries = Math.max(0, leader.status.last - peer.match);
  const writes = samples.length ? samples[samples.length - 1].writes_per_s : 0;
  const seconds = writes > 0 ? entries / writes : null;
  const isLate = entries > LATE_ENTRIES && (seconds == null || seconds > LATE_SECONDS);
  return { entries, seconds, isLate };
}

function heard(member) {
  const { leader, status } = view;
  if (leader && member !== leader) {
    const peer = peerOf(leader, member);
    if (peer) return [ago(peer.heard_ms), "by the leader"];
  }
  if (status.leader === member.id && status.leader_heard_ms != null && !member.self) {
    return [ago(status.leader_heard_ms), "by this node"];
  }
  return ["–", ""];
}

function fillMember(row, member) {
  const cells = row.children;
  const state = member.status;
  setClass(row, member.self ? "me" : "");
  const [name, place] = cells[0].children;
  const title = String(member.id) + (member.name ? " " + member.name : "");
  if (member.client && !member.self) link(name, member.client, title);
  else setText(name, title);
  setText(place, [member.client, member.self ? "this node" : ""].filter(Boolean).join(", "));

  const isOld = member.self && view.error;
  const isWithout = state && state.leader == null && !state.halted;
  const role = !state || isOld ? "× not reachable" : state.halted ? "■ halted" : ROLES[state.role] || state.role;
  const kind = !state || isOld || state.halted ? "gone" : state.role === "leader" ? "leader"
    : isWithout || state.role !== "follower" ? "candidate" : "";
  setText(cells[1].children[0], role);
  setClass(cells[1].children[0], "role " + kind);
  setText(cells[1].children[1], isOld ? "" : !state ? "since " + goneSince(view, member)
    : isWithout && state.role === "follower" ? "no leader known"
    : state.leader != null && state.role === "follower" ? "of node " + state.leader : "");

  const lag = behind(member);
  const [seen, bySomeone] = heard(member);
  const isLate = lag && lag.isLate;
  const about = lag && lag.entries > 0 && lag.seconds != null && lag.seconds >= 0.1
    ? "about " + (lag.seconds < 10 ? lag.seconds.toFixed(1) + " s" : lasting(lag.seconds * 1000)) : "";
  const lagNote = [isLate ? "late" : "", about].filter(Boolean).join(", ");
  const lagText = member === view.leader ? "leads" : !lag ? "–" : lag.entries == null ? "not known yet"
    : lag.entries === 0 ? "in step" : count(lag.entries) + (lag.entries === 1 ? " entry" : " entries");
  const figures = [
    [count(state && state.term)], [count(state && state.last)], [count(state && state.commit)],
    [count(state && state.applied), state && state.commit > state.applied
      ? count(state.commit - state.applied) + " to apply" : ""],
    [lagText, lagNote],
    [seen, bySomeone],
    [!state || isOld ? "no answer" : member.self ? "this node" : "in " + millis(member.took_ms)],
  ];
  figures.forEach(([value, note], at) => {
    const [text, small] = cells[at + 2].firstElementChild.children;
    setText(text, value);
    setClass(text, at === 4 && isLate ? "late" : "");
    setText(small, note || "");
    small.hidden = !note;
  });
}

function createMember() {
  const labels = [...document.querySelectorAll("thead th")].map((head) => head.textContent);
  const row = make("tr");
  const name = make("td");
  name.append(make("a"), make("small"));
  const role = make("td");
  role.append(make("span"), make("small"));
  row.append(name, role);
  for (const label of labels.slice(2)) {
    const cell = make("td", "number");
    cell.dataset.label = label;
    const value = make("span");
    value.append(make("span"), make("small"));
    cell.append(value);
    row.append(cell);
  }
  return row;
}

function showMembers() {
  if (!view.status) return;
  fillList(byId("members"), view.members, createMember, fillMember);
  setText(byId("members-note"), view.leader
    ? "Behind: entries of the leader's log that the member has not yet confirmed as durable. "
      + "Members answer a few milliseconds apart, so under load their indexes differ a little."
    : "No member says that it leads.");
}

function showEvents() {
  const now = view.status ? view.status.time_ms + (view.now - view.lastAnswer) : view.now;
  const create = () => {
    const row = make("tr");
    row.append(make("td"), make("td"), make("td"), make("td"));
    return row;
  };
  const events = view.events.slice().reverse().slice(0, 40);
  fillList(byId("events"), events, create, (row, event) => {
    const texts = [clock(event.time_ms), lasting(now - event.time_ms) + " ago", KINDS[event.kind] || event.kind, event.text];
    texts.forEach((text, at) => setText(row.children[at], text));
  });
  setText(byId("events-note"), !events.length ? "None yet."
    : view.events.length > events.length ? "The last " + events.length + " of " + view.events.length + "." : "");
}

function showAll() {
  const found = trouble(view);
  showTrouble(found);
  showHead();
  showMembers();
  const now = view.status ? view.status.time_ms + (view.now - view.lastAnswer) : view.now;
  showPlots(view.samples, view.events, now);
  showEvents();
  setClass(byId("view"), view.error ? "old" : "");
  byId("view").hidden = !view.status;
  const worst = found[0];
  const where = view.status ? view.status.cluster + ", node " + view.status.node : location.host;
  document.title = (worst.level === "good" ? "" : worst.word + " · ") + where;
}

// Where something is said that this page does not understand, by a member of another
// version for example, nothing that was shown before stays as if it still held.
function showFailure(why) {
  const what = "This page cannot show what was answered at " + clock(Date.now()) + ": it may be"
    + " of another version than a member. What is below is of an earlier moment; reload the page.";
  showTrouble([{ level: "bad", word: "Not shown", what, more: String(why) }]);
  setClass(byId("view"), "old");
  document.title = "Not shown · " + location.host;
}

function draw() {
  try {
    showAll();
  } catch (why) {
    showFailure(why);
  }
}

async function keepRefreshing() {
  const began = Date.now();
  try {
    // Nobody sees a hidden page, and the node need not be asked for it.
    if (!document.hidden) {
      await refresh();
      showAll();
    }
  } catch (why) {
    showFailure(why);
  } finally {
    setTimeout(keepRefreshing, Math.max(200, EVERY_MS - (Date.now() - began)));
  }
}

createPlots(draw);
keepRefreshing();
