// The four tiles: rate, latency, what is behind, dead letters by reason.

import { byId, el, say } from "./dom.js";
import { bar, columns } from "./draw.js";
import { count, duration, percent, rate, time } from "./format.js";

const REASONS = 4;
const BEHIND_KEPT = 60;

export function showFigures(figures) {
  say(byId("model"), figures.models.join(", "));
  say(byId("rate"), rate(figures.rate));
  const skipped = figures.skipped ? ` · ${count(figures.skipped)} passed over` : "";
  const unreadable = figures.unreadable ? ` · ${count(figures.unreadable)} unreadable` : "";
  say(byId("rate-more"), `${count(figures.predictions)} since ${time(figures.since_ms)}${skipped}${unreadable}`);
  byId("rate-chart").replaceChildren(columns(figures.history.map((value) => [value])));
  showLatency(figures);
  showLetters(figures);
}

function showLatency({ complete, waited }) {
  say(byId("latency"), duration(complete.p50_ms ?? waited.p50_ms));
  const parts = [`p99 ${duration(complete.p99_ms ?? waited.p99_ms)}`];
  if (waited.p50_ms !== null) parts.push(`partial ${duration(waited.p50_ms)}`);
  say(byId("latency-more"), parts.join(" · "));
  byId("latency-chart").replaceChildren(columns(complete.counts.map((number, bucket) => [number, waited.counts[bucket]])));
}

function showLetters(figures) {
  say(byId("letters"), count(figures.letters));
  const share = figures.letters / Math.max(1, figures.letters + figures.predictions);
  say(byId("letters-more"), figures.letters ? `${percent(share)} of what came out` : "none since the board began");
  const entries = Object.entries(figures.reasons);
  const most = Math.max(1, ...entries.map(([, number]) => number));
  const shown = entries.slice(0, entries.length > REASONS ? REASONS - 1 : REASONS);
  const rest = entries.slice(shown.length);
  const rows = shown.map(([reason, number]) => row(reason, number, number / most));
  if (rest.length) rows.push(row(`${rest.length} more`, rest.reduce((sum, [, number]) => sum + number, 0), 0));
  byId("reasons").replaceChildren(...rows);
}

function row(reason, number, share) {
  return el("p", {},
    el("span", { class: "name" }, reason.toLowerCase().replace("_", " ")),
    bar(share),
    el("span", { class: "value" }, count(number)));
}

export function showBehind(lanes) {
  say(byId("behind"), count(lanes.behind));
  say(byId("behind-more"), `lag ${count(lanes.lag)} · ${count(lanes.count)} lanes of ${lanes.group}`);
  const history = [...Array(BEHIND_KEPT - lanes.history.length).fill(0), ...lanes.history];
  byId("behind-chart").replaceChildren(columns(history.map((value) => [value]), 20));
}
