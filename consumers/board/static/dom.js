// Elements made of parts. Text only ever becomes text nodes: nothing that comes from a topic is parsed as HTML.

const KEY_END = 6;

export const byId = (id) => document.getElementById(id);

/** Returns an HTML element; of the attributes, `class`, `title`, `data-*`, `aria-*` and the like. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** Returns an SVG element. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Returns a key of which, where room is short, the middle is left out: keys often differ at their ends. */
export function key(text) {
  const end = text === null ? 0 : Math.max(0, text.length - KEY_END);
  return el("span", { class: "key", title: text },
    el("span", { class: "start" }, text === null ? "no key" : text.slice(0, end)),
    text === null ? null : el("span", { class: "end" }, text.slice(end)));
}

/** Sets an element's text if it is another than before. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
