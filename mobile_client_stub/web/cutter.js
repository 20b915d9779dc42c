/** The worker that cuts on the phone itself: the shipped model in onnxruntime-web, one thread. Only here WebAssembly may be compiled. */

import {composed, selected, squeezed, stretched} from "/web/masks.js";

let ort, session;

/** {runtime: URL, wasm, model: ArrayBuffer}. */
async function load({runtime, wasm, model}) {
  ort = await import(runtime);
  ort.env.wasm.wasmBinary = wasm;
  ort.env.wasm.numThreads = 1;
  session = await ort.InferenceSession.create(new Uint8Array(model), {executionProviders: ["wasm"], graphOptimizationLevel: "all"});
}

/** The object under `tap` (pixels of the photo, or null): a cut-out with its box, or null where there is none. */
async function cut({photo, tap}) {
  const began = performance.now();
  const [, , height, width] = session.inputMetadata[0].shape;
  const input = new ort.Tensor("float32", squeezed(photo, width, height), [1, 3, height, width]);
  const prepared = performance.now();
  const {[session.outputNames[0]]: output} = await session.run({[session.inputNames[0]]: input});
  const predicted = performance.now();
  const scale = {x: width / photo.width, y: height / photo.height};
  const at = tap && {x: (tap.x + 0.5) * scale.x - 0.5, y: (tap.y + 0.5) * scale.y - 0.5};
  const object = selected({width, height, data: output.data.map((value) => Math.min(Math.max(value, 0), 1))}, at);
  const cutout = object && composed(photo, stretched(object, photo.width, photo.height));
  const timings = {prepare: prepared - began, predict: predicted - prepared, compose: performance.now() - predicted};
  return cutout && {...cutout, score: object.score, timings_ms: timings};
}

self.onmessage = async ({data: {id, work, ...wanted}}) => {
  try {
    const result = await (work === "load" ? load(wanted) : cut(wanted));
    self.postMessage({id, result}, result ? [result.data.buffer] : []);
  } catch (error) {
    self.postMessage({id, error: String(error?.message ?? error)});
  }
};
