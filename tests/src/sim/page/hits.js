// From a place in the picture to an event, and back.

/** Where a line stands in the picture; nothing where it is not shown. */
function spotOf(line) {
  const x = toX(LINES.at[line]);
  const node = LINES.node[line], group = LINES.group[line], client = LINES.client[line];
  if (client >= 0) {
    const lane = lanes.clients.find((one) => one.client === client);
    return lane ? [x, lane.top + 7] : null;
  }
  const lane = lanes.of.get(node);
  if (!lane) return null;
  if (FLIGHT_OF.has(line)) return [x, portOf(node, group)];
  const topic = LINES.topic[line];
  if (topic === TOPIC.disk) return [x, lane.disk + 2];
  if (topic === TOPIC.roles) return [x, (lane.groups.get(group) ?? lane.top) + 8];
  if (topic === TOPIC.log && !markOf(line)) return [x, (lane.groups.get(group) ?? lane.top) + 21];
  return [x, lane.faults + 8];
}

/** The event nearest to a place, or -1. */
function hit(x, y) {
  let best = -1, nearest = 10;
  const consider = (line, away) => {
    if (away < nearest) {
      nearest = away;
      best = line;
    }
  };
  const reach = 14 / scale(), at = toTime(x);
  for (let line = lineFrom(at - reach); line < LINES.count && LINES.at[line] <= at + reach; line += 1) {
    if (!isShown(line) || FLIGHT_OF.has(line)) continue;
    const spot = spotOf(line);
    if (spot) consider(line, Math.hypot(spot[0] - x, spot[1] - y) + (markOf(line) ? -1 : 0.5));
  }
  if (nearest < 5) return best;
  for (const flight of flightsInSight()) {
    const [fromX, fromY, toX_, toY] = wayOf(flight);
    consider(flight.line, awayFrom(x, y, fromX, fromY, toX_, toY) + 1);
  }
  if (best >= 0) return best;
  return hitBar(x, y, at);
}

/** The operation or the state of a replica that a bar stands for. */
function hitBar(x, y, at) {
  for (const lane of lanes.clients) {
    if (y < lane.top || y > lane.top + 15) continue;
    const asks = ASKS.filter((ask) => ask.client === lane.client && ask.from <= at + 2 / scale() && ask.to >= at - 2 / scale());
    if (asks.length > 0) return lineOfAsk(asks[asks.length - 1]);
  }
  for (const lane of lanes.nodes) {
    for (const [group, top] of lane.groups) {
      if (y < top || y > top + 17) continue;
      for (let line = lineFrom(at + 1) - 1; line >= 0; line -= 1) {
        const same = LINES.node[line] === lane.node && LINES.group[line] === group;
        if (same && LINES.topic[line] === TOPIC.roles) return line;
      }
    }
  }
  return -1;
}

/** The line that tells how an operation ended, or that it began. */
function lineOfAsk(ask) {
  let began = -1;
  for (let line = lineFrom(ask.from); line < LINES.count && LINES.at[line] <= ask.to; line += 1) {
    if (LINES.client[line] !== ask.client) continue;
    if (textOf(line).startsWith('asks')) began = began < 0 ? line : began;
    else if (LINES.at[line] === ask.to && textOf(line).startsWith(ask.what)) return line;
  }
  return began;
}

function awayFrom(x, y, x1, y1, x2, y2) {
  const dx = x2 - x1, dy = y2 - y1;
  const along = dx * dx + dy * dy;
  const share = along === 0 ? 0 : Math.min(Math.max(((x - x1) * dx + (y - y1) * dy) / along, 0), 1);
  return Math.hypot(x - x1 - share * dx, y - y1 - share * dy);
}
