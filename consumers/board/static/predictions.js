// The latest answer, large, and those before it; one of them can be held to look at.

import { byId, el, key, say } from "./dom.js";
import { bar, input } from "./draw.js";
import { count, duration, percent, rate, time } from "./format.js";

const ROWS = 8;
const KEPT = 2 * ROWS;
const INPUTS = { image: "Picture", speech: "Speech", sensor: "Sensor" };
const PEN = "Pen";

const canHover = matchMedia("(hover: hover)");
const known = [];
let selected = null;
let held = false;
let newer = 0;
let rows = null;

export function start() {
  rows = Array.from({ length: ROWS }, () => el("li"));
  byId("recent").append(...rows);
  byId("hold").addEventListener("click", () => hold(!held));
  for (const left of ["mouseleave", "focusout"]) byId("recent").addEventListener(left, () => setTimeout(catchUp));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && held) hold(false);
  });
}

/** A prediction has come. */
export function add(prediction) {
  if (known.some((other) => other.place === prediction.place)) return;
  known.unshift(prediction);
  known.length = Math.min(known.length, KEPT);
  if (held || isBeingRead()) {
    newer += 1;
    say(byId("recent-more"), `${held ? "held" : "waiting"}, ${count(newer)} newer`);
  } else {
    draw();
  }
}

/** A list that moves cannot be pointed at, and would lose the keyboard's place. */
function isBeingRead() {
  const list = byId("recent");
  return list.matches(":focus-within") || (canHover.matches && list.matches(":hover"));
}

function catchUp() {
  if (held || !newer || isBeingRead()) return;
  newer = 0;
  say(byId("recent-more"), "");
  draw();
}

/** The figures say how many there are in all. */
export function tell(figures) {
  if (!newer && !held) say(byId("recent-more"), figures.rate > 4 ? `a sample of ${rate(figures.rate)} a second` : "");
}

function hold(yes) {
  held = yes;
  newer = 0;
  byId("hold").setAttribute("aria-pressed", String(held));
  say(byId("hold"), held ? "Go on" : "Hold");
  say(byId("answer-title"), held ? "Held answer" : "Latest answer");
  say(byId("recent-more"), held ? "held" : "");
  if (held) {
    selected ??= known[0] ?? null;
  } else {
    selected = null;
    draw();
  }
}

function draw() {
  rows.forEach((row, number) => row.replaceChildren(...(known[number] ? [recent(known[number])] : [])));
  if (known.length) show(selected ?? known[0]);
}

function show(prediction) {
  byId("answer").replaceChildren(...answer(prediction));
  for (const button of byId("recent").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.place === prediction.place));
  }
}

function answer(prediction) {
  return [
    el("div", { class: "says" },
      el("p", { class: prediction.label.length > 3 ? "verdict long" : "verdict" }, prediction.label),
      el("div", { class: "sure" },
        el("p", { class: "confidence" }, percent(prediction.confidence), el("span", {}, " sure")),
        el("p", { class: "badges" }, ...badges(prediction))),
      likely(prediction)),
    el("div", { class: "inputs" }, ...Object.entries(INPUTS).map(([modality, name]) => figure(prediction, modality, name))),
    el("dl", { class: "facts" },
      ...fact("Key", prediction.key), ...fact("Event", time(prediction.event_time_ms)),
      ...fact("Latency", duration(prediction.latency_ms)), ...fact("Record", prediction.place)),
  ];
}

function figure(prediction, modality, name) {
  const preview = prediction.inputs[modality];
  const title = preview?.pen ? PEN : name;
  return el("figure", { class: `${modality}${preview ? "" : " missing"}` },
    el("div", { class: "frame", role: "img", "aria-label": `${title}: ${preview ? "there" : "not there"}` }, input(preview)),
    el("figcaption", {}, title));
}

function likely(prediction) {
  const bars = prediction.probabilities.slice(0, 4).map(([label, probability]) =>
    el("li", {},
      el("span", { class: "name" }, label),
      bar(probability),
      el("span", { class: "value" }, percent(probability))));
  return el("ol", { class: "likely" }, ...bars);
}

function badges(prediction) {
  const made = [];
  if (prediction.partial) made.push(el("span", { class: "badge partial" }, `${prediction.modalities.length} of 3 inputs`));
  if (prediction.revision) made.push(el("span", { class: "badge amended" }, "amended"));
  if (!made.length) made.push(el("span", { class: "badge" }, "all inputs"));
  return made;
}

const fact = (name, value) => [el("div", {}, el("dt", {}, name), el("dd", { title: value }, value))];

function recent(prediction) {
  const mark = prediction.revision ? "amended" : prediction.partial ? "partial" : "";
  const button = el("button", { type: "button", "data-place": prediction.place, "aria-label": spoken(prediction) },
    ...["image", "speech", "sensor"].map((modality) =>
      el("span", { class: prediction.inputs[modality] ? "mini" : "mini missing" }, mini(prediction.inputs[modality]))),
    key(prediction.key),
    el("span", { class: `mark ${mark}` }, mark),
    el("span", { class: "answer-label" }, prediction.label),
    el("span", { class: "value" }, percent(prediction.confidence)));
  button.addEventListener("click", () => {
    hold(true);
    selected = prediction;
    show(prediction);
  });
  return button;
}

const mini = (preview) => (preview && !preview.problem ? input(preview) : "");

function spoken(prediction) {
  const state = prediction.revision ? ", amended" : prediction.partial ? ", partial" : "";
  return `${prediction.key}: ${prediction.label}, ${percent(prediction.confidence)}${state}. Hold and look.`;
}
