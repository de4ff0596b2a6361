// The page's beginning: each kind of event goes to its part of the page.

import * as connection from "./connection.js";
import { showBehind, showFigures } from "./figures.js";
import { showLanes } from "./lanes.js";
import { addLetter } from "./letters.js";
import * as predictions from "./predictions.js";
import * as search from "./search.js";

predictions.start();
search.start();
connection.start();
connection.open({
  prediction: predictions.add,
  letter: addLetter,
  figures: (figures) => {
    showFigures(figures);
    predictions.tell(figures);
  },
  lanes: (lanes) => {
    showLanes(lanes);
    showBehind(lanes);
  },
});
