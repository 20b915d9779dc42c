/** A failed step becomes a card that names the hop and offers what to do next. */

import {Cancelled, Failure} from "/web/agent.js";
import {home} from "/web/copy.js";
import {forgotten} from "/web/pairing.js";
import * as show from "/web/show.js";
import * as tray from "/web/tray.js";

/** `route` is copy or paste; `again` repeats the step, `otherwise` is the milder way back, `clip` can be saved on the phone. */
export function report(failure, route, {again, otherwise = home, clip}) {
  if (failure instanceof Cancelled) return;
  if (!(failure instanceof Failure)) {
    console.error(failure);
    failure = new Failure("phone", String(failure?.message ?? failure), {title: "Something went wrong on this phone", next: "Try again, or reload the page."});
  }
  if (failure.hop === "pairing") return forgotten(failure);
  show.ring(null);
  show.buzz(60, 50, 60);
  show.pill("");
  const actions = [];
  if (again) actions.push([failure.hop === "photo" ? "Tap another place" : "Try again", failure.hop === "photo" ? otherwise : again]);
  if (clip && failure.hop === "paste") actions.push(["Save the cut-out on this phone", () => { tray.save(clip); otherwise(); }]);
  actions.push([route === "paste" ? "Back to the camera" : "New photo", home]);
  show.card({
    title: failure.title || "This did not work",
    text: failure.message,
    next: failure.next,
    route,
    hop: failure.hop === "photo" ? "server" : failure.hop,
    actions,
  });
}
