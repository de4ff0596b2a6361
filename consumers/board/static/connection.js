// Whether what is on the page is live: the board's own stream, and the board's connection to the broker.

import { byId, say } from "./dom.js";
import { time } from "./format.js";

const SILENT_MS = 6000;
const LOOK_MS = 1000;
const AGAIN_MS = 3000;

/** For a picture: what is known now, and nothing after it. A stream that goes on is waited for by headless browsers. */
const isStill = location.hash === "#still";

let broker = null;
let lostAt = null;
let heardAt = Date.now();

/** Opens the stream, and again whenever it ends for good; `handlers` are by the kind of event. */
export function open(handlers) {
  const stream = new EventSource(isStill ? "/events?still=true" : "/events");
  for (const [kind, handle] of Object.entries({ ...handlers, connection: (state) => { broker = state; } })) {
    stream.addEventListener(kind, (event) => {
      heardAt = Date.now();
      lostAt = null;
      handle(JSON.parse(event.data));
      show();
    });
  }
  stream.addEventListener("error", () => {
    if (isStill && broker !== null) {
      stream.close();
      return;
    }
    lostAt ??= Date.now();
    show();
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => open(handlers), AGAIN_MS);
  });
}

export function start() {
  setInterval(() => {
    if (!document.hidden && Date.now() - heardAt > SILENT_MS) lostAt ??= heardAt;
    show();
  }, LOOK_MS);
}

function show() {
  if (lostAt !== null) set("lost", "No board", `No connection to the board since ${time(lostAt)}. Trying again.`);
  else if (broker === null) set("waiting", "Connecting", "");
  else if (!broker.up) set("lost", "No broker", `No connection to the broker since ${time(broker.since_ms)}. ${broker.problem}`);
  else set("live", "Live", "");
}

function set(is, short, long) {
  byId("status").dataset.is = is;
  say(byId("status-text"), short);
  say(byId("banner"), long);
  byId("banner").hidden = !long;
}
