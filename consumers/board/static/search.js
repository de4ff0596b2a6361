// Search over Elasticsearch, as `trimodal search` asks it.

import { byId, el, key, say } from "./dom.js";
import { count, dateTime, duration, percent } from "./format.js";

let asking = null;

export function start() {
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    ask(byId("query").value);
  });
  byId("examples").addEventListener("click", (event) => {
    if (!(event.target instanceof HTMLButtonElement)) return;
    byId("query").value = event.target.textContent;
    ask(event.target.textContent);
  });
}

async function ask(query) {
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  tell("Searching …");
  try {
    const answer = await fetch(`/search?${new URLSearchParams({ q: query })}`, { signal: mine.signal });
    const content = await answer.json();
    if (answer.ok) show(content);
    else fail(content.problem ?? `The board refused the query (${answer.status}).`);
  } catch (error) {
    if (!mine.signal.aborted) fail(`The board does not answer (${error.message}).`);
  }
}

function tell(text, isWrong = false) {
  say(byId("found-says"), text);
  byId("found-says").classList.toggle("wrong", isWrong);
}

function fail(problem) {
  tell(problem, true);
  byId("found").replaceChildren();
}

function show({ total, predictions }) {
  if (!total) {
    tell("No indexed prediction matches.");
    byId("found").replaceChildren();
    return;
  }
  const all = total === 1 ? "1 match" : `${count(total)} matches`;
  tell(predictions.length < total ? `${all}, the newest ${count(predictions.length)} shown.` : `${all}.`);
  const head = ["Event time", "Key", "Label", "Confidence", "Inputs", "Latency", "Model"];
  byId("found").replaceChildren(el("table", {},
    el("thead", {}, el("tr", {}, ...head.map((name, at) => el("th", { scope: "col", class: KIND[at] }, name)))),
    el("tbody", {}, ...predictions.map(row))));
}

const KIND = ["when", "named", "label", "number", "given", "number wide", "wide"];

function row(prediction) {
  const [date, ...clock] = dateTime(prediction.event_time_ms).split(" ");
  const cells = [
    el("time", {}, el("span", { class: "date" }, `${date} `), clock.join(" ")), key(prediction.key), prediction.label, percent(prediction.confidence),
    prediction.modalities.join(" ") + (prediction.revision ? " · amended" : ""),
    duration(prediction.latency_ms), prediction.model,
  ];
  return el("tr", {}, ...cells.map((content, at) => el("td", { class: KIND[at] }, content)));
}
