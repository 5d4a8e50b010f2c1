
// What needs attention, the worst first.

function named(member) {
  return "Node " + member.id + (member.name ? " (" + member.name + ")" : "");
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
  if (lastAnswer) more.push("What is below is of " + clock(lastAnswer) + ".");
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
      + (at == null ? "" : " since " + since(at, now)) + ": nothing can be written.";
    found.push({ level: "bad", word: "No leader", what, more: status.missing });
  }
  if (status.stopping) {
    const what = "Node " + status.node + " is stopping.";
    found.push({ level: "warn", word: "Stopping", what });
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

function ofOthers(view, found) {
  const { status, members, leader } = view;
  for (const member of members.filter((one) => !one.self)) {
    if (member.error) {
      const peer = leader && leader.status.peers.find((one) => one.id === member.id);
      const isHeard = peer && peer.heard_ms != null && peer.heard_ms < 2000;
      const from = Math.min(
        member.failing_since_ms,
        peer && peer.heard_ms != null ? status.time_ms - peer.heard_ms : Infinity,
      );
      const what = named(member) + " is not reachable since " + since(from, status.time_ms) + ".";
      const more = member.client + ": " + member.error + "."
        + (isHeard ? " The leader hears it, though: only its port for clients is concerned." : "");
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
  const answering = members.filter((member) => member.status).length;
  const all = members.length === 1
    ? "its only member answers"
    : (answering === members.length ? "all " : answering + " of ") + members.length + " members answer";
  const what = "Node " + status.leader + " leads in term " + count(status.term)
    + (seen ? " since " + since(seen.time_ms, status.time_ms) : "") + "; " + all + ".";
  return { level: "good", word: "Healthy", what };
}

function trouble(view) {
  if (view.error && !view.refusal) return [unanswered(view)];
  if (view.refusal) {
    const what = "This node answers, and does not serve yet.";
    return [{ level: "bad", word: "Not serving", what, more: view.refusal }];
  }
  if (!view.status) return [{ level: "", word: "Loading", what: "Asking this node how it stands." }];
  const found = [];
  ofThisNode(view, found);
  ofOthers(view, found);
  if (!found.length) return [calm(view)];
  return found.sort((a, b) => (a.level > b.level) - (a.level < b.level));
}

function showTrouble(view) {
  const found = trouble(view);
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
  return found;
}
