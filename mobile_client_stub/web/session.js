/** What the steps share: the camera, the floating cut-out, the frozen picture, and the way home. */

import {Failure} from "/web/agent.js";
import {Camera, drawn} from "/web/camera.js";
import {Floating} from "/web/floating.js";
import {fit} from "/web/geometry.js";
import {$} from "/web/show.js";
import * as show from "/web/show.js";

const FILE_LONG_SIDE = 2560;

export const camera = new Camera($("live"));
export const floating = new Floating($("stage"), $("floating"));

export const session = {
  file: false,     // pictures come from files, since there is no live camera
  step: null,      // the step that hears taps and Back: {name, tapped?, back?, leave?}
};

/** Hand over to another step. */
export function enter(step) {
  session.step?.leave?.();
  session.step = step;
  floating.movable = Boolean(step.movable);
  show.state(step.name, session.file);
  remember(step.name !== "camera");
}

/** The size of the picture that is looked at, and how it lies on the stage. */
export function looked() {
  const frozen = !$("photo").hidden;
  const size = frozen ? {width: $("photo").width, height: $("photo").height} : camera.size;
  const stage = {width: $("stage").clientWidth, height: $("stage").clientHeight};
  return {size, fitted: fit(stage, size, frozen && $("photo").classList.contains("whole"))};
}

/** Freeze the live camera's picture. */
export function freeze() {
  camera.draw($("photo"));
  $("photo").className = "";
  $("photo").hidden = false;
  camera.rest();
}

/** Show a picture from a file, upright, reduced to what is needed. Raises `Failure` where the browser cannot open it. */
export async function showFile(file) {
  const bitmap = await createImageBitmap(file, {imageOrientation: "from-image"}).catch(() => {
    throw new Failure("phone", "This phone's browser cannot open this file as a picture.", {
      title: "Not a picture", next: "Choose a JPEG or PNG photo, or take a new one.",
    });
  });
  drawn(bitmap, bitmap, $("photo"), FILE_LONG_SIDE);
  bitmap.close();
  $("photo").className = "whole";
  $("photo").hidden = false;
}

export function thaw() {
  camera.wake();
  $("photo").hidden = true;
}

let deep = false;

function remember(isDeep) {  // the phone's own Back gesture leads to the camera, not out of the page
  if (isDeep && !deep) history.pushState({deep: true}, "");
  if (!isDeep && deep && history.state?.deep) history.back();
  deep = isDeep;
}

addEventListener("popstate", () => {
  if (!deep) return;
  deep = false;
  session.step?.back?.();
  if (session.step?.name !== "camera") remember(true);
});
