
// The last five minutes of this node as small plots.

const SPAN_MS = 300000;

const PLOTS = [
  { title: "Writes committed", show: rate, least: 10,
    lines: [["", (one) => one.writes_per_s]] },
  { title: "Commit latency", show: millis, least: 1, none: "measured on the leader, while there are writes",
    lines: [["median", (one) => one.commit_p50_ms], ["99th percentile", (one) => one.commit_p99_ms]] },
  { title: "Log sync", show: millis, least: 1, none: "nothing was synced",
    lines: [["mean", (one) => one.sync_mean_ms], ["longest", (one) => one.sync_max_ms]] },
  { title: "Requests answered by this node", show: rate, least: 10,
    lines: [["requests", (one) => one.http_requests_per_s], ["reads confirmed as leader", (one) => one.reads_per_s]] },
  { title: "Log on disk", show: bytes, least: 1 << 20, binary: true,
    lines: [["", (one) => one.log_bytes]] },
  { title: "Memory of the process", show: bytes, least: 1 << 20, binary: true,
    lines: [["", (one) => one.rss_bytes]] },
];

// Where the pointer is, as a part of the width from the left; null where it is elsewhere.
let pointer = null;

// The next round number above the greatest value, so that scales change rarely.
function scale(greatest, plot) {
  const most = Math.max(greatest, plot.least);
  const unit = plot.binary ? 1024 ** Math.floor(Math.log2(most) / 10) : 1;
  const power = 10 ** Math.floor(Math.log10(most / unit));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power * unit).find((top) => top >= most);
}

function x(one, now) {
  return 300 * (1 - (now - one.time_ms) / SPAN_MS);
}

// A line with gaps where there was nothing to measure or nobody measured.
function curve(samples, of, top, now) {
  let path = "";
  let before = null;
  for (const one of samples) {
    const value = of(one);
    if (value != null) {
      const joined = before && one.time_ms - before.time_ms < 3500;
      const at = x(one, now).toFixed(1) + " " + (100 - 100 * value / top).toFixed(1);
      path += (joined ? "L" : "M") + at + (joined ? "" : "h.8");
    }
    before = value == null ? null : one;
  }
  return path;
}

// The areas below a curve: each of its pieces, closed along the base.
function area(path) {
  return path.split("M").filter(Boolean).map((piece) => {
    const from = piece.split(" ")[0];
    const to = piece.split(/[ML]/).pop().split(" ")[0];
    return "M" + from + " 100L" + piece.replace("h.8", "") + "L" + to + " 100Z";
  }).join("");
}

function createPlots(redraw) {
  for (const plot of PLOTS) {
    const figure = byId("plot").content.cloneNode(true).firstElementChild;
    plot.figure = figure;
    setText(figure.querySelector("figcaption"), plot.title);
    const values = figure.querySelector(".values");
    plot.lines.forEach(([name], at) => {
      const value = make("span");
      if (name) {
        const key = figure.querySelector("svg").cloneNode(false);
        const sample = figure.querySelector(at ? ".line.second" : ".line.first").cloneNode(false);
        key.setAttribute("viewBox", "0 0 18 8");
        sample.setAttribute("d", "M0 4H18");
        key.append(sample);
        value.append(key, make("i", "", name + " "));
      }
      value.append(make("b"));
      values.append(value);
    });
    const field = figure.querySelector(".area");
    field.addEventListener("pointermove", (event) => {
      const box = field.getBoundingClientRect();
      pointer = (event.clientX - box.left) / box.width;
      redraw();
    });
    field.addEventListener("pointerleave", () => {
      pointer = null;
      redraw();
    });
    byId("plots").append(figure);
  }
}

function nearest(samples, now) {
  if (pointer == null || !samples.length) return null;
  const wanted = now - SPAN_MS * (1 - pointer);
  const far = (one) => Math.abs(one.time_ms - wanted);
  return samples.reduce((best, one) => (far(one) < far(best) ? one : best));
}

function setPath(svg, name, path) {
  const element = svg.querySelector(name);
  if (element.getAttribute("d") !== path) element.setAttribute("d", path);
}

function showPlots(samples, events, now) {
  const seen = samples.filter((one) => now - one.time_ms < SPAN_MS);
  const picked = nearest(seen, now);
  const shown = picked || seen[seen.length - 1];
  const changes = events.filter((one) => one.kind === "leader_seen" && now - one.time_ms < SPAN_MS);
  for (const plot of PLOTS) {
    const svg = plot.figure.querySelector(".area svg");
    const all = plot.lines.flatMap(([, of]) => seen.map(of)).filter((value) => value != null);
    const top = scale(Math.max(0, ...all), plot);
    const [first, second] = plot.lines.map(([, of]) => curve(seen, of, top, now));
    setPath(svg, ".line.first", first);
    setPath(svg, ".line.second", second || "");
    setPath(svg, ".fill", plot.lines.length === 1 ? area(first) : "");
    setPath(svg, ".mark", changes.map((one) => "M" + x(one, now).toFixed(1) + " 0V100").join(""));
    setPath(svg, ".cursor", picked ? "M" + x(picked, now).toFixed(1) + " 0V100" : "");
    setText(plot.figure.querySelector(".top"), plot.show(top));
    const none = all.length ? "" : plot.none || "no figures yet";
    setText(plot.figure.querySelector(".none"), none);
    plot.figure.querySelectorAll(".values b").forEach((value, at) => {
      setText(value, plot.show(shown && plot.lines[at][1](shown)));
    });
  }
  setText(byId("at"), picked ? "– figures of " + since(picked.time_ms, now) : "");
  const marks = changes.length ? "Dashed uprights: a leader was found. " : "";
  setText(byId("plots-note"), samples.length
    ? marks + "Point at a plot for the figures of that second."
    : "This node keeps no history.");
}
