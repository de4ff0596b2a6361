// The last records that were set aside, each with its reason and its sentence.

import { byId, el, key } from "./dom.js";
import { time } from "./format.js";

const ROWS = 5;
const known = [];

export function addLetter(letter) {
  if (known.some((other) => other.place === letter.place)) return;
  known.unshift(letter);
  known.length = Math.min(known.length, ROWS);
  byId("dead").replaceChildren(...known.map(row));
}

function row(letter) {
  return el("li", {},
    el("p", { class: "head" },
      el("span", { class: "badge reason" }, letter.reason.toLowerCase().replace("_", " ")),
      key(letter.key),
      el("time", { datetime: new Date(letter.occurred_ms).toISOString() }, time(letter.occurred_ms))),
    el("p", { class: "detail", title: `${letter.detail} ${letter.place}` }, letter.detail));
}
