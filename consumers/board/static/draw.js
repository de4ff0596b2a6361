// Small drawings, as SVG that fills its box.

import { el, svg } from "./dom.js";

const PEN_STEPS = 8;
const CURVE_ROOM = 60;

/** Returns what is to be seen of an input; `problem` or nothing becomes a note. */
export function input(preview) {
  if (preview?.waveform) return waveform(preview.waveform);
  if (preview?.picture) return picture(preview.picture);
  if (preview?.pen) return pen(preview.pen.points);
  if (preview?.curves) return curves(preview.curves.values);
  return el("span", { class: "none", title: preview?.problem }, preview ? "unreadable" : "not there");
}

function waveform(columns) {
  const tops = columns.map(([, high], x) => `${x},${-Math.max(high, 1.5)}`);
  const bottoms = columns.map(([low], x) => `${x},${-Math.min(low, -1.5)}`).reverse();
  return svg("svg", { class: "wave", viewBox: `0 -104 ${columns.length - 1} 208`, preserveAspectRatio: "none" },
    svg("polygon", { points: [...tops, ...bottoms].join(" ") }));
}

function picture(source) {
  const image = el("img", { src: source, alt: "" });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 64));
  return image;
}

/** Stretches of the stroke, which the style sheet draws the paler the older they are. */
function pen(points) {
  const drawing = svg("svg", { class: "pen", viewBox: "-90 -90 1180 1180" });
  const each = Math.max(1, Math.ceil((points.length - 1) / PEN_STEPS));
  for (let start = 0; start < points.length - 1; start += each) {
    const stretch = points.slice(start, start + each + 1).map((point) => point.join(",")).join(" ");
    drawing.append(svg("polyline", { points: stretch }));
  }
  return drawing;
}

function curves(values) {
  const height = 1000 + CURVE_ROOM;
  const drawing = svg("svg", {
    class: "curves", preserveAspectRatio: "none",
    viewBox: `0 ${-CURVE_ROOM} ${values[0].length - 1} ${values.length * height + CURVE_ROOM}`,
  });
  values.forEach((line, row) => {
    const points = line.map((value, x) => `${x},${value + row * height}`).join(" ");
    drawing.append(svg("polyline", { points, "vector-effect": "non-scaling-stroke" }));
  });
  return drawing;
}

/** Returns columns, each a stack of values from the bottom up; the tallest fills the height. */
export function columns(stacks, least = 1) {
  const drawing = svg("svg", { viewBox: `0 0 ${stacks.length} 100`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const most = Math.max(least, ...stacks.map((stack) => stack.reduce((sum, value) => sum + value, 0)));
  stacks.forEach((stack, x) => {
    let below = 0;
    stack.forEach((value, layer) => {
      if (!value) return;
      const height = Math.max(2, (value / most) * 98);
      drawing.append(svg("rect", { x: x + 0.12, width: 0.76, y: 100 - below - height, height, class: `layer-${layer}` }));
      below += height;
    });
  });
  return drawing;
}

/** Returns a bar that is filled to a share, 0 to 1. */
export function bar(share) {
  return svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { width: 100 * Math.min(1, share ?? 0), height: 6 }));
}

/** Returns an offset map: `cells` are digits from 0, finished, to 9, unfinished. */
export function strip(cells) {
  const drawing = svg("svg", { class: "strip", viewBox: "0 0 32 10", preserveAspectRatio: "none", "aria-hidden": "true" });
  drawing.append(svg("rect", { class: "ground", width: 32, height: 10 }));
  const width = 32 / Math.max(1, cells.length);
  [...cells].forEach((digit, number) => {
    if (digit === "0") return;
    drawing.append(svg("rect", { class: "open", x: number * width, width, height: 10, opacity: 0.3 + 0.078 * Number(digit) }));
  });
  return drawing;
}
