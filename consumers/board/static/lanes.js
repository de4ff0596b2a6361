// What is committed for each lane, and its offset maps. Rows are kept and refilled.

import { byId, el, say } from "./dom.js";
import { strip } from "./draw.js";
import { count, percent } from "./format.js";

const rows = new Map();

export function showLanes({ lanes, count: all }) {
  say(byId("lanes-more"), lanes.length < all ? `the ${lanes.length} furthest behind, of ${count(all)}` : "");
  const numbers = new Set(lanes.map((lane) => lane.number));
  for (const [number, row] of rows) {
    if (!numbers.has(number)) {
      row.remove();
      rows.delete(number);
    }
  }
  lanes.forEach((lane, at) => {
    const row = rows.get(lane.number) ?? made(lane.number);
    fill(row, lane);
    const there = byId("lanes").children[at];
    if (there !== row) byId("lanes").insertBefore(row, there ?? null);
  });
}

function made(number) {
  const row = el("tr", {}, el("th", { scope: "row" }, String(number)),
    ...Array.from({ length: 3 }, () => el("td", { class: "wide" })),
    ...Array.from({ length: 3 }, () => el("td", { class: "number" })));
  rows.set(number, row);
  return row;
}

function fill(row, lane) {
  const cells = row.children;
  lane.partitions.forEach((partition, at) => {
    const offset = partition.committed === null ? "nothing yet" : count(partition.committed);
    cells[at + 1].replaceChildren(strip(partition.cells),
      el("span", { class: partition.problem ? "offset wrong" : "offset", title: partition.problem || partition.topic },
        partition.problem ? "unreadable" : offset));
  });
  say(cells[4], count(lane.partitions.reduce((sum, partition) => sum + partition.unfinished, 0)));
  say(cells[5], count(lane.behind));
  say(cells[6], percent(Math.max(...lane.partitions.map((partition) => partition.share))));
}
