
// What needs attention, the worst first.

// Whom the leader heard so lately is there: heartbeats are far more frequent.
const HEARD_MS = 2000;

function named(member) {
  return "Node " + member.id + (member.name ? " (" + member.name + ")" : "");
}

// What the leader says of a member; one of another version may say nothing.
function peerOf(leader, member) {
  return leader && (leader.status.peers || []).find((one) => one.id === member.id);
}

function lastOf(events, ...kinds) {
  return events.findLast((event) => kinds.includes(event.kind));
}

// Since when no leader is known here, where the events still tell.
function leaderlessSince(events, status) {
  const last = lastOf(events, "leader_seen", "leader_lost");
  if (last) return last.kind === "leader_lost" ? last.time_ms : null;
  return events.length < 100 ? status.time_ms - status.up_ms : null;
}

function unanswered(view) {
  const { lastAnswer, now, error, status } = view;
  const others = view.members.filter((member) => !member.self && member.client);
  const more = [error];
  if (status && status.stopping) more.push("It was stopping when it answered last.");
  if (lastAnswer) more.push("What is below is what it said last.");
  if (others.length) {
    more.push("Other members: " + others.map((one) => one.client).join(", ") + ".");
  }
  const who = status ? "Node " + status.node : "This node";
  const what = lastAnswer
    ? who + " has not answered since " + since(lastAnswer, now) + "."
    : who + " has not answered yet, since this page was opened at " + clock(view.opened) + ".";
  return { level: "bad", word: "No answer", what, more: more.filter(Boolean).join(" ") };
}

function ofThisNode(view, found) {
  const { status, events } = view;
  const now = status.time_ms;
  if (status.halted) {
    const what = "Node " + status.node + " has stopped serving its group for good.";
    found.push({ level: "bad", word: "Halted", what, more: status.halted });
  } else if (status.leader == null) {
    const at = leaderlessSince(events, status);
    const what = "No leader is known to node " + status.node
      + (at == null ? "" : " since " + since(at, now)) + ": no writes, and no reads but stale ones, until there is one.";
    found.push({ level: "bad", word: "No leader", what, more: status.missing });
  }
  if (status.stopping) {
    const what = "Node " + status.node + " is stopping.";
    found.push({ level: "warn", word: "Stopping", what });
  }
  if (status.collection_paused) {
    const what = "Node " + status.node + " keeps its log and all its snapshots, which take more and more room.";
    const more = "Somebody has paused the collection; raft-node gc resume lets it go on.";
    found.push({ level: "warn", word: "Collection paused", what, more });
  }
  const overload = lastOf(events, "overload_began", "overload_ended");
  if (overload && overload.kind === "overload_began") {
    const what = "Node " + status.node + " refuses requests since " + since(overload.time_ms, now) + ".";
    found.push({ level: "warn", word: "Overload", what, more: overload.text });
  }
  const slow = events.filter((one) => one.kind === "slow_sync" && now - one.time_ms < 60000);
  if (slow.length) {
    const last = slow[slow.length - 1];
    const what = "The disk of node " + status.node + " is slow: "
      + (slow.length === 1 ? "once" : slow.length + " times") + " within a minute, last at "
      + since(last.time_ms, now) + ".";
    found.push({ level: "warn", word: "Slow disk", what, more: last.text });
  }
}

// Since when a member is gone: by what the leader last heard, or by this node's asking,
// which may have begun later.
function goneSince(view, member) {
  const now = view.status.time_ms;
  const peer = peerOf(view.leader, member);
  const asked = member.failing_since_ms;
  if (peer && peer.heard_ms != null && peer.heard_ms >= HEARD_MS) {
    return since(Math.min(asked, view.leader.status.time_ms - peer.heard_ms), now);
  }
  return since(asked, now) + (member.answered_before ? "" : ", or longer");
}

// What absences mean for the others.
function majority(members) {
  const answering = members.filter((one) => one.status).length;
  const needed = Math.floor(members.length / 2) + 1;
  const answers = answering + " of " + members.length + (answering === 1 ? " answers" : " answer");
  return { isThere: answering >= needed, text: answers + ", and " + needed + " are a majority." };
}

function ofOthers(view, found) {
  const { status, members, leader } = view;
  const { isThere, text } = majority(members);
  if (!isThere && !leader && status.leader != null) {
    const what = "Most members do not answer: " + text;
    found.push({ level: "bad", word: "No majority", what });
  }
  for (const member of members.filter((one) => !one.self)) {
    if (member.error) {
      const peer = peerOf(leader, member);
      const isHeard = peer && peer.heard_ms != null && peer.heard_ms < HEARD_MS;
      const what = named(member) + " has not been reachable since " + goneSince(view, member) + ".";
      const more = member.client + ": " + member.error + "."
        + (isHeard ? " The leader hears it, though: it is only not reached at its port for clients."
          : isThere && status.leader != null ? " Service goes on: " + text : "");
      found.push({ level: "warn", word: "Unreachable", what, more });
    } else if (member.status && member.status.halted) {
      const what = named(member) + " has stopped serving its group for good.";
      found.push({ level: "bad", word: "Halted", what, more: member.status.halted });
    } else if (member.status && member.status.stopping) {
      found.push({ level: "warn", word: "Stopping", what: named(member) + " is stopping." });
    } else if (member.status && member.status.leader == null && status.leader != null) {
      const what = named(member) + " knows no leader, unlike this node.";
      found.push({ level: "warn", word: "No leader", what, more: member.status.missing });
    }
  }
}

function calm(view) {
  const { status, members, events } = view;
  const seen = lastOf(events, "leader_seen");
  // A node that has just started finds a leader that may have led long before.
  const isOfBefore = seen && status.leader !== status.node
    && seen.time_ms - (status.time_ms - status.up_ms) < 5000;
  const answering = members.filter((member) => member.status).length;
  const [first] = members;
  // A node inside another program may know the addresses of nobody.
  const all = members.length === 1
    ? (first.client ? "; it is the only member" : "")
    : "; " + (answering === members.length ? "all " : answering + " of ") + members.length
      + " members answer";
  const what = "Node " + status.leader + " leads in term " + count(status.term)
    + (seen && !isOfBefore ? " since " + since(seen.time_ms, status.time_ms) : "") + all + ".";
  return { level: "good", word: "Healthy", what };
}

function trouble(view) {
  if (view.error && !view.refusal) return [unanswered(view)];
  if (view.refusal) {
    const what = "This node answers, and does not serve requests yet.";
    const more = view.refusal.charAt(0).toUpperCase() + view.refusal.slice(1) + ".";
    return [{ level: "warn", word: "Not serving", what, more }];
  }
  if (!view.status) return [{ level: "", word: "Loading", what: "Asking this node how it stands." }];
  const found = [];
  ofThisNode(view, found);
  ofOthers(view, found);
  if (!found.length) return [calm(view)];
  return found.sort((a, b) => (a.level > b.level) - (a.level < b.level));
}

function showTrouble(found) {
  const create = () => {
    const item = make("li");
    const text = make("div");
    text.append(make("span"), make("small"));
    item.append(make("b"), text);
    return item;
  };
  fillList(byId("trouble"), found, create, (item, one) => {
    setClass(item, one.level);
    const [word, text] = item.children;
    setText(word, one.word);
    setText(text.children[0], one.what);
    setText(text.children[1], one.more || "");
    text.children[1].hidden = !one.more;
  });
}
