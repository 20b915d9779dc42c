/** Copy: a tap takes the photo, the object under it is cut out and lifts off; other taps choose another object. */

import * as agent from "/web/agent.js";
import {jpeg} from "/web/camera.js";
import {inside, overPhoto, toPicture} from "/web/geometry.js";
import {report} from "/web/failures.js";
import * as ondevice from "/web/ondevice.js";
import {hover} from "/web/paste.js";
import {camera, enter, floating, freeze, looked, session, showFile, thaw} from "/web/session.js";
import {$} from "/web/show.js";
import * as show from "/web/show.js";
import * as tray from "/web/tray.js";

const PHOTO_QUALITY = 0.92;
const TURNED_DEGREES = 22;

let photo = null;  // {blob} of the frozen picture, so that another tap sends the same pixels

/** The start of everything: the camera looks for an object. */
export function home() {
  floating.hide();
  thaw();
  photo = null;
  show.ring(null);
  show.aimState("none");
  enter({name: "camera", tapped: shoot});
  if (session.file) {
    show.empty("Photograph an object", "Then tap it in the picture: it is cut out and can be pasted on the computer.");
    show.pill("");
  } else {
    show.empty(null);
    show.pill("Tap an object");
  }
}

/** Take the photo and cut out what was tapped; without a point, what is in the middle. */
export async function shoot(point) {
  if (session.file || !camera.live) return;
  performance.mark("shutter");
  const at = point ?? {x: $("stage").clientWidth / 2, y: $("stage").clientHeight / 2};
  freeze();
  show.flash();
  show.buzz(12);
  photo = null;
  await cutAt(at);
}

/** A picture from a file: the person then taps the object. */
export async function useFile(file) {
  try {
    await showFile(file);
  } catch (failure) {
    return report(failure, "copy", {});
  }
  photo = null;
  show.empty(null);
  enter({name: "choose", tapped: cutAt, back: home});
  show.pill("Tap the object");
}

/** Cut out the object at a stage point of the frozen photo (null: the main object). */
export async function cutAt(point) {
  const {size, fitted} = looked();
  const tap = point && inside(size, toPicture(fitted, point));
  const abort = new AbortController();
  const again = () => cutAt(point);
  floating.hide();
  enter({name: "cutting", back: () => { abort.abort(); home(); }, leave: () => show.ring(null)});
  show.ring(point ?? {x: $("stage").clientWidth / 2, y: $("stage").clientHeight / 2});
  show.pill("Cutting it out…", "busy");
  try {
    const made = await (ondevice.isOn() ? ondevice.cut($("photo"), tap, {signal: abort.signal}) : cutThere(tap, abort.signal));
    const clip = {...made, created: Date.now() / 1000};
    tray.add(clip);
    await picked(clip, overPhoto(fitted, made.box));
  } catch (failure) {
    if (abort.signal.aborted) return;
    report(failure, "copy", {again, otherwise: chooseAgain});
  }
}

/** The computer, or its server, cuts. */
async function cutThere(tap, signal) {
  photo ??= {blob: await jpeg($("photo"), PHOTO_QUALITY)};
  const onRetry = () => show.pill("Connection lost. Trying again…", "warn");
  const made = await agent.cut(photo.blob, tap, {signal, onRetry});
  return {...made, blob: await agent.clipImage(made.clip, signal)};
}

async function picked(clip, at) {
  await floating.show(clip.blob, at, "The object, cut out");
  const stop = whenTurned(() => use(clip));
  enter({name: "picked", tapped: cutAt, back: home, use: () => use(clip), leave: stop});
  floating.lift();
  performance.mark("cutout");
  if (performance.getEntriesByName("shutter").length) performance.measure("copy", "shutter", "cutout");
  show.buzz(8, 40, 14);
  show.pill(session.file ? "Use it, or tap another object" : "Move to the screen, or tap another object", "good");
}

function use(clip) {
  const at = floating.at;
  thaw();
  hover(clip, at);
}

/** Back to the frozen photo, to tap somewhere else. */
function chooseAgain() {
  if ($("photo").hidden) return home();
  enter({name: "choose", tapped: cutAt, back: home});
  show.pill("Tap the object");
}

/** iOS tells how the phone turns only after it was asked, from a tap; without a yes the button remains. */
export function askForTurning() {
  globalThis.DeviceOrientationEvent?.requestPermission?.().catch(() => {});
}

/** Call `then` once when the phone is turned away from where it pointed (where the browser tells). Returns how to stop waiting. */
function whenTurned(then) {
  if (session.file) return () => {};
  let first = null;
  const turned = (event) => {
    if (event.beta === null) return;
    first ??= event;
    const difference = (name) => Math.abs(((event[name] - first[name] + 540) % 360) - 180);
    if (Math.max(difference("beta"), difference("alpha")) < TURNED_DEGREES) return;
    removeEventListener("deviceorientation", turned);
    then();
  };
  addEventListener("deviceorientation", turned);
  return () => removeEventListener("deviceorientation", turned);
}
