/** Paste: the cut-out floats over the live camera, small frames tell where it would land, a tap pastes it there. */

import * as agent from "/web/agent.js";
import {drawn, jpeg} from "/web/camera.js";
import {home} from "/web/copy.js";
import {report} from "/web/failures.js";
import {overPhoto, placement} from "/web/geometry.js";
import {camera, enter, floating, freeze, looked, session, showFile, thaw} from "/web/session.js";
import {$} from "/web/show.js";
import * as show from "/web/show.js";
import * as tray from "/web/tray.js";

const FRAME_LONG_SIDE = 640;
const FRAME_QUALITY = 0.72;
const FRAME_MS = 100;
const VIEW_QUALITY = 0.9;
const MARKS_SEEN_MS = 450;
const QUESTION_MS = 1800;

const frame = document.createElement("canvas");

/** Let a clip float where it was (`at`), or in the middle, as large as it was in its photo. */
export async function hover(clip, at = null) {
  thaw();
  show.landed(null);
  show.empty(null);
  if (session.file) return waitForView(clip);
  await floating.show(clip.blob, at ?? centred(clip), "Your cut-out");
  const abort = new AbortController();
  const go = () => send(clip, crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now());
  enter({name: "floating", movable: true, tapped: go, paste: go, back: home, leave: () => abort.abort()});
  show.aimState("searching");
  show.pill("Point at the screen", "busy");
  aimLoop(clip, abort.signal);
}

function centred(clip) {
  const {size, fitted} = looked();
  const long = Math.max(size.width, size.height) / Math.max(...clip.image_size);
  const {clientWidth: x, clientHeight: y} = $("stage");
  return {x: x / 2, y: y / 2, scale: fitted.k * long, rotation: 0};
}

/** Small frames, at most ten a second and never two at once, until the step is left. */
async function aimLoop(clip, signal) {
  let misses = 0, last = null;
  try {
    for (;;) {
      const began = performance.now();
      const idle = document.hidden || (session.file && JSON.stringify(floating.at) === last);
      if (!idle && (session.file || camera.live)) {
        last = JSON.stringify(floating.at);
        const reduction = session.file ? drawn($("photo"), looked().size, frame, FRAME_LONG_SIDE) : camera.draw(frame, FRAME_LONG_SIDE);
        const where = placement(looked().fitted, floating.at, reduction);
        const answer = await agent.aim(await jpeg(frame, FRAME_QUALITY), clip.clip, where, signal);
        misses = answer.locked ? 0 : misses + 1;
        if (!signal.aborted) aimed(answer, misses);
      }
      await agent.pause(Math.max(FRAME_MS - (performance.now() - began), 20), signal);
    }
  } catch (failure) {
    if (!signal.aborted && !(failure instanceof agent.Cancelled)) report(failure, "paste", {again: () => hover(clip, floating.at)});
  }
}

function aimed(answer, misses) {
  const before = document.body.dataset.aim;
  if (answer.locked) {
    if (before !== "locked") show.buzz(10);
    show.aimState("locked");
    show.pill("Tap to paste", "good");
  } else if (misses > 1 || before !== "locked") {  // one missed frame is no news
    show.aimState(answer.reason ? "refused" : "searching");
    show.pill(answer.message || "Point at the screen", answer.reason ? "warn" : "busy");
  }
}

/** Send the view and paste. `key` names this paste: sent again, it does not land twice. `marked`: the screen shows its marks. */
async function send(clip, key, marked = false) {
  if (!marked) performance.mark("paste-tap");
  const abort = new AbortController(), answered = new AbortController();
  const at = {...floating.at};
  if (!session.file) freeze();
  const {fitted} = looked();
  const back = () => { abort.abort(); again(clip, at); };
  enter({name: "pasting", back});
  show.ring(at);
  if (!marked) show.flash();
  show.buzz(12);
  show.pill(marked ? "Reading the marks…" : "Finding the place…", "busy");
  tellOfQuestion(answered.signal);
  try {
    const view = await jpeg($("photo"), VIEW_QUALITY);
    const where = placement(fitted, at, 1);
    const onRetry = () => show.pill("Connection lost. Trying again…", "warn");
    const answer = await delivered(clip, view, where, key, {signal: abort.signal, onRetry, markers: !marked && !session.file});
    answered.abort();
    show.ring(null);
    if (answer.status === "pasted") return pasted(clip, answer, at);
    if (answer.status === "retry_after_markers" && !marked) return await lookAtMarks(clip, key, abort.signal);
    throw new agent.Failure(answer.status === "failed" ? "paste" : "locate", answer.message, {
      code: answer.reason ?? "",
      title: titleOf(answer),
      next: answer.reason === "not_allowed" ? "" : "The cut-out is kept.",
    });
  } catch (failure) {
    answered.abort();
    show.ring(null);
    if (abort.signal.aborted) return;
    report(failure, "paste", {again: () => again(clip, at), otherwise: home, clip});
  }
}

function titleOf({status, reason}) {
  if (reason === "not_allowed") return "It was not allowed";
  return status === "failed" ? "It was not pasted" : "The place was not found";
}

/** The computer shows marks for a moment, from before it answers on: the second photo is taken once the camera has seen them. */
async function lookAtMarks(clip, key, signal) {
  thaw();
  show.pill("Hold still: the screen shows marks…", "busy");
  show.buzz(10, 40, 10);
  await agent.pause(MARKS_SEEN_MS, signal);
  await send(clip, key, true);
}

/** A paste that takes long may wait for a yes at the computer: say so. */
async function tellOfQuestion(signal) {
  try {
    for (;;) {
      await agent.pause(QUESTION_MS, signal);
      if ((await agent.status()).asking && !signal.aborted) show.pill(`Allow it on ${agent.agent.name}: it asks first`, "busy");
    }
  } catch {
    // answered, given up, or not reached: the paste itself says so
  }
}

/** The agent's answer; a clip that the computer does not have (any more) is sent to it first. */
async function delivered(clip, view, where, key, options) {
  try {
    if (!clip.mine) return await agent.paste(view, clip.clip, where, key, options);
  } catch (failure) {
    if (failure.code !== "no_such_clip") throw failure;
  }
  await tray.hand(clip);
  return agent.paste(view, clip.clip, where, key, options);
}

function again(clip, at) {
  if (!session.file) return hover(clip, at);
  placing(clip, at);
}

function pasted(clip, answer, at) {
  performance.mark("landed");
  performance.measure("paste", "paste-tap", "landed");
  show.state("pasted");
  floating.land(true);
  show.landed(at);
  show.buzz(20, 60, 40);
  show.pill("Pasted", "good");
  setTimeout(() => {
    if (session.step?.name !== "pasting") return;
    home();
    const undo = answer.driver === "board" ? "Undo it on the board." : `Undo it there with ${agent.agent.undo}.`;
    show.toast(`${answer.message} ${undo}`, {action: () => hover(clip), label: "Again", ms: 8000});
  }, 1000);
}

/** Without a live camera: the photo of the screen comes from a file too. */
function waitForView(clip) {
  floating.hide();
  enter({name: "floating", back: home, view: (file) => viewFile(file, clip)});
  show.empty("Photograph the screen", "Point at the place on the computer where the cut-out belongs.", "agent");
  show.pill("");
  show.aimState("none");
}

async function viewFile(file, clip) {
  try {
    await showFile(file);
  } catch (failure) {
    return report(failure, "paste", {again: () => waitForView(clip)});
  }
  show.empty(null);
  await placing(clip, null);
}

async function placing(clip, at) {
  const {size, fitted} = looked();
  const long = Math.max(size.width, size.height) / Math.max(...clip.image_size);
  const middle = overPhoto(fitted, [0, 0, size.width, size.height]);
  await floating.show(clip.blob, at ?? {...middle, scale: fitted.k * long}, "Your cut-out");
  const abort = new AbortController();
  const go = () => send(clip, crypto.randomUUID?.() ?? String(Math.random()).slice(2) + Date.now());
  const tapped = ({detail: point}) => point && floating.place({...floating.at, x: point.x, y: point.y});
  enter({
    name: "placing", movable: true, paste: go, view: (file) => viewFile(file, clip),
    tapped: (point) => tapped({detail: point}), back: () => hover(clip), leave: () => abort.abort(),
  });
  show.aimState("searching");
  show.pill("Looking for this place on the screen…", "busy");
  aimLoop(clip, abort.signal);
}
