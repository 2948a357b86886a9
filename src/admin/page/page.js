"use strict";

// Everything shown comes from /stats and /history of the same address. Text goes in as text, never as markup: names of upstreams and errors
// are not ours.

const EVERY_MS = 2000;
const HISTORY_EVERY = 5;
const POINT_SECONDS = 10;
const HOUR = 3600;
const BARS = 60;
const MARKS = { good: "✓", unknown: "?", gap: "!", bad: "✗" };
const KINDS = [["hits", "hit"], ["misses", "miss"], ["synthesized", "own"]];
const ZERO = { hits: 0, misses: 0, synthesized: 0, failed: 0 };

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat();

let span = 360;
let history = { points: [], events: [], time: 0 };
let turn = 0;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes, title) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (title) {
    const words = document.createElementNS("http://www.w3.org/2000/svg", "title");
    words.textContent = title;
    made.append(words);
  }
  return made;
}

// What is read aloud as it changes is touched only if it changes.
function say(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function duration(seconds) {
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 1) return `${+(seconds * 1e3).toPrecision(3)} ms`;
  return `${+seconds.toPrecision(3)} s`;
}

function size(octets) {
  const units = ["octets", "KiB", "MiB", "GiB"];
  const power = octets < 1 ? 0 : Math.min(3, Math.floor(Math.log2(octets) / 10));
  return `${+(octets / 1024 ** power).toPrecision(3)} ${units[power]}`;
}

function since(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${seconds} s`;
}

function showProtection(protection) {
  $("protection").dataset.state = protection.state;
  say($("headline"), protection.text);
  $("parts").replaceChildren(...protection.parts.map((part) => {
    const words = element("p", {}, part.text);
    if (part.help) words.append(" ", element("code", {}, part.help));
    const mark = element("span", { class: "mark", role: "img", "aria-label": part.state }, MARKS[part.state] || "?");
    return element("li", { "data-state": part.state }, mark, words);
  }));
}

function sum(points) {
  const total = { ...ZERO };
  for (const point of points) for (const key in total) total[key] += point[key];
  return total;
}

function all(point) {
  return point.hits + point.misses + point.synthesized;
}

function showTiles(stats) {
  const hour = sum(history.points.filter((point) => point.at > history.time - HOUR));
  say($("questions"), number.format(all(hour)));
  say($("questions-more"), hour.failed ? `${number.format(hour.failed)} failed` : "none failed");
  const looked = hour.hits + hour.misses;
  say($("ratio"), looked ? `${Math.round(hour.hits / looked * 100)} %` : "–");
  say($("ratio-more"), `${Math.round(stats.cache.hit_ratio * 100)} % since the start`);
  say($("median"), stats.latency.upstream.count ? median(stats.latency.upstream) : "–");
  say($("median-more"), stats.latency.cached.count ? `upstream; cached ${median(stats.latency.cached)}` : "upstream");
  say($("fill"), `${number.format(stats.cache.entries)} answers`);
  say($("fill-more"), `${size(stats.cache.bytes)} of ${size(stats.cache.max_bytes)}`);
  say($("program"), `${stats.version}, up for ${since(stats.uptime_seconds)}`);
}

// The upper bound of the bucket that holds the middle one: no more is known.
function median(histogram) {
  const found = histogram.buckets.find((bucket) => bucket.count * 2 >= histogram.count);
  return found && found.le !== null ? duration(found.le) : "longer than 5 s";
}

function showTime() {
  const each = span / BARS;
  const bars = Array.from({ length: BARS }, () => ({ ...ZERO }));
  // By their times: a machine that slept has a hole.
  for (const point of history.points) {
    const bar = BARS - 1 - Math.floor((history.time - point.at) / (each * POINT_SECONDS));
    if (bar >= 0 && bar < BARS) bars[bar] = sum([bars[bar], point]);
  }
  const most = Math.max(1, ...bars.map(all));
  const [chart, width, height] = [$("time-chart"), 720 / BARS, 170];
  const shapes = [0, 0.5, 1].map((part) => shape("line", { x1: 0, x2: 720, y1: 175 - height * part, y2: 175 - height * part }));
  bars.forEach((bar, at) => {
    const title = `${number.format(all(bar))} questions, ${number.format(bar.hits)} from the cache, ${number.format(bar.failed)} failed`;
    let top = 175;
    for (const [key, kind] of KINDS) {
      const tall = bar[key] / most * height;
      top -= tall;
      if (tall) shapes.push(shape("rect", { class: kind, x: at * width + 1, y: top, width: width - 2, height: tall }, title));
    }
    if (bar.failed) shapes.push(shape("rect", { class: "bad", x: at * width + 1, y: 176, width: width - 2, height: 4 }, title));
  });
  chart.replaceChildren(...shapes);
  const total = sum(bars);
  chart.setAttribute("aria-label", `${number.format(all(total))} questions in ${span === 360 ? "the last hour" : "ten minutes"}: `
    + `${number.format(total.hits)} from the cache, ${number.format(total.misses)} asked upstream, ${number.format(total.failed)} failed`);
  say($("time-from"), `${span * POINT_SECONDS / 60} min ago`);
  say($("time-scale"), `most in ${each * POINT_SECONDS} s: ${number.format(most)}`);
}

function shares(histogram) {
  let before = 0;
  return histogram.buckets.map((bucket) => {
    const here = bucket.count - before;
    before = bucket.count;
    return histogram.count ? here / histogram.count : 0;
  });
}

function showLatency(latency) {
  const both = [[shares(latency.cached), "hit"], [shares(latency.upstream), "miss"]];
  const bounds = latency.cached.buckets.map((bucket) => bucket.le);
  const most = Math.max(0.01, ...both.flatMap(([parts]) => parts));
  const [width, height] = [720 / bounds.length, 150];
  const shapes = [shape("line", { x1: 0, x2: 720, y1: 155, y2: 155 })];
  both.forEach(([parts, kind], beside) => parts.forEach((part, at) => {
    const upTo = bounds[at] === null ? "longer than 5 s" : `within ${duration(bounds[at])}`;
    const x = at * width + 3 + beside * (width - 6) / 2;
    const tall = part ? Math.max(1, part / most * height) : 0;
    shapes.push(shape("rect", { class: kind, x, y: 155 - tall, width: (width - 6) / 2 - 1, height: tall }, `${(part * 100).toFixed(1)} % ${upTo}`));
  }));
  const chart = $("latency-chart");
  chart.replaceChildren(...shapes);
  const within = (histogram) => histogram.count ? `half of ${number.format(histogram.count)} within ${median(histogram)}` : "none yet";
  chart.setAttribute("aria-label", `From the cache: ${within(latency.cached)}. Asked upstream: ${within(latency.upstream)}.`);
  const axis = $("latency-axis");
  if (!axis.childElementCount) {
    const shown = bounds.map((bound, at) => at % 3 === 0 ? (bound === null ? "longer" : duration(bound)) : "");
    axis.append(...shown.filter(Boolean).map((text) => element("span", {}, text)));
  }
}

function showUpstreams(upstreams) {
  $("upstreams").replaceChildren(...upstreams.flatMap((one) => {
    const cells = [
      element("th", { scope: "row" }, one.name),
      element("td", { "data-state": one.state }, one.state === "unknown" ? "not asked yet" : one.state),
      element("td", {}, { doh: "HTTPS", dot: "TLS", udp: "clear text", tcp: "clear text" }[one.transport] || one.transport),
      element("td", { class: "number" }, one.rtt_ms === null ? "–" : duration(one.rtt_ms / 1000)),
      ...[one.queries, one.failures, one.handshakes.full + one.handshakes.resumed]
        .map((count) => element("td", { class: "number" }, number.format(count))),
    ];
    // What went wrong once and works again is history.
    const error = one.state === "down" && one.last_error;
    const row = element("tr", error ? { class: "has-error" } : {}, ...cells);
    return error ? [row, element("tr", {}, element("td", { class: "error", colspan: 7 }, one.last_error))] : [row];
  }));
}

function showEvents() {
  const line = (event) => {
    const when = new Date(event.at * 1000);
    return element("li", {}, element("time", { datetime: when.toISOString() }, when.toLocaleTimeString()), element("span", {}, event.text));
  };
  const none = [element("li", {}, "Nothing since the start.")];
  $("events").replaceChildren(...(history.events.length ? history.events.toReversed().map(line) : none));
}

async function get(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(EVERY_MS * 2) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function look() {
  try {
    if (turn % HISTORY_EVERY === 0) {
      history = await get("/history");
      showTime();
      showEvents();
    }
    const stats = await get("/stats");
    showProtection(stats.protection);
    showTiles(stats);
    showLatency(stats.latency);
    showUpstreams(stats.upstreams);
    turn += 1;
  } catch {
    turn = 0;
    showProtection({
      state: "bad",
      text: "tacenda does not answer",
      parts: [{ state: "bad", text: "It is not running, or it is being started anew. This page goes on asking.", help: "systemctl status tacenda" }],
    });
  }
}

async function go() {
  if (!document.hidden) await look();
  setTimeout(go, EVERY_MS);
}

for (const button of document.querySelectorAll("[data-span]")) {
  button.addEventListener("click", () => {
    span = Number(button.dataset.span);
    for (const other of document.querySelectorAll("[data-span]")) other.setAttribute("aria-pressed", String(other === button));
    showTime();
  });
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) { turn = 0; look(); } });
go();
