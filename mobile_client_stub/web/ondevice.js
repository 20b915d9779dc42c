/** Cutting on this phone: the setting, the files (kept on the phone once they came), and the worker that does it. */

import {Cancelled, Failure, ondevice as wanted, sent} from "/web/agent.js";
import * as store from "/web/store.js";

const SETTING = "cut-on-this-phone";
const NEXT = "Switch 'Cut on this phone' off in the settings, then the computer cuts.";

let worker = null, ready = null, asked = 0;
const waiting = new Map();

export const possible = typeof Worker === "function" && typeof WebAssembly === "object";

export function isOn() { return possible && remembered() === "on"; }

function remembered() {
  try { return localStorage.getItem(SETTING); } catch { return null; }
}

/** Why the setting cannot be offered; null where it can. */
export async function whyNot() {
  if (!possible) return "this browser cannot run the model.";
  const {available, reason} = await wanted();
  return available ? null : reason;
}

/** Switch it on (and load what it needs; `onProgress` hears shares in [0, 1]) or off. Raises `Failure`. */
export async function choose(on, onProgress) {
  if (on) await prepare(onProgress);
  else stop();
  try { localStorage.setItem(SETTING, on ? "on" : "off"); } catch { /* then it holds until the page closes */ }
}

/** Have the worker ready; the first time that takes a download. */
export function prepare(onProgress = () => {}) {
  ready ??= start(onProgress).catch((failure) => {
    stop();
    throw failure;
  });
  return ready;
}

async function start(onProgress) {
  const known = await description();
  if (!known.available) throw new Failure("phone", `For cutting on this phone: ${known.reason}`, {title: "Not set up", next: NEXT});
  const {runtime, wasm, model} = known.files;
  let come = 0;
  const counted = (bytes) => onProgress(Math.min((come += bytes) / known.bytes, 1));
  const [wasmBytes, modelBytes] = await Promise.all([bytes(wasm, counted), bytes(model, counted)]);
  worker = new Worker("/web/cutter.js", {type: "module", name: "cutter"});
  worker.onmessage = ({data: {id, result, error}}) => {
    const {resolve, reject} = waiting.get(id) ?? {};
    waiting.delete(id);
    if (error) reject?.(broken(error));
    else resolve?.(result);
  };
  worker.onerror = (event) => failAll(broken(event.message || "the worker did not start"));
  await ask("load", {runtime: runtime.url, wasm: wasmBytes, model: modelBytes}, [wasmBytes, modelBytes]);
}

/** What the computer offers; without a connection what it offered last. */
async function description() {
  try {
    const now = await wanted();
    if (now.available) await store.keepFile("description", now);
    return now;
  } catch (failure) {
    const last = await store.keptFile("description");
    if (!last) throw failure;
    return last;
  }
}

/** A file by its hash: from this phone, or from the computer, checked. */
async function bytes({url, sha256}, counted) {
  const kept = await store.keptFile(sha256);
  if (kept) return kept;
  const response = await sent(url, {timeout: 300_000});
  if (!response.ok) throw new Failure("agent", "The model did not come from the computer.", {title: "No model", next: "Try again."});
  const parts = [];
  for (const reader = response.body.getReader(); ;) {
    const {done, value} = await reader.read();
    if (done) break;
    parts.push(value);
    counted(value.length);
  }
  const whole = await new Blob(parts).arrayBuffer();
  if (crypto.subtle && await digest(whole) !== sha256) throw new Failure("agent", "The model came damaged.", {title: "No model", next: "Try again."});
  await store.keepFile(sha256, whole);
  return whole;
}

async function digest(buffer) {
  return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", buffer)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The object at `tap` (pixels, or null) of a canvas, in the form of the computer's answer, with its PNG as `blob`. */
export async function cut(canvas, tap, {signal}) {
  await prepare();
  const {width, height} = canvas;
  const photo = {width, height, data: canvas.getContext("2d").getImageData(0, 0, width, height).data};
  const result = await ask("cut", {photo, tap}, [photo.data.buffer]);
  if (signal?.aborted) throw new Cancelled();
  if (!result) {
    throw new Failure("photo", "No object was found in the picture: come closer, or put the object on a plainer background.", {
      code: "no_object", title: "No object found there",
    });
  }
  const blob = await png(result);
  return {clip: `here-${Date.now().toString(36)}-${asked}`, blob, box: result.box, image_size: [width, height], score: result.score, model: "lite", server: "this phone", timings_ms: result.timings_ms, mine: true};
}

function png({width, height, data}) {
  const canvas = Object.assign(document.createElement("canvas"), {width, height});
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => blob ? resolve(blob) : reject(broken("no memory for the picture")), "image/png"));
}

function ask(work, fields, transfer) {
  const id = ++asked;
  return new Promise((resolve, reject) => {
    waiting.set(id, {resolve, reject});
    worker.postMessage({id, work, ...fields}, transfer);
  });
}

function stop() {
  worker?.terminate();
  worker = ready = null;
  failAll(broken("it was switched off"));
}

function failAll(failure) {
  for (const {reject} of waiting.values()) reject(failure);
  waiting.clear();
}

function broken(why) {
  return new Failure("phone", `Cutting on this phone did not work (${why}).`, {code: "ondevice", title: "This phone could not cut", next: NEXT});
}
