/** The computer's HTTP face. Every failure says which hop failed, and what to do next. */

const ANSWER_MS = 60_000;
const RETRIES_MS = [400, 800, 1600, 3000, 5000];

/** `hop` is phone, agent, server, photo, locate, paste or pairing. */
export class Failure extends Error {
  constructor(hop, message, {code = "", next = "", title = ""} = {}) {
    super(message);
    Object.assign(this, {hop, code, next, title});
  }
}

export class Cancelled extends Error {}

export const agent = {name: "the computer", undo: "Ctrl+Z"};

/** Who answers here, and whether this phone is known: {"paired", "pairing", "name"?, "undo"?, "local"?}. */
export const hello = () => answered("/hello", {timeout: 8000}, "agent");

export const pair = (token, name) => answered("/pair", json({token, name}), "pairing");

export const unpair = () => answered("/pair", {method: "DELETE"}, "agent");

export const status = () => answered("/status", {}, "agent");

/** What the computer has for cutting on the phone: {"available", "reason", "bytes", "files"}. */
export const ondevice = () => answered("/ondevice", {timeout: 15_000}, "agent");

export const listClips = () => answered("/clips", {}, "agent");

export const deleteClip = (id) => answered(`/clips/${id}`, {method: "DELETE"}, "agent");

export async function clipImage(id, signal) {
  const response = await sent(`/clips/${id}.png`, {signal});
  if (!response.ok) throw await refusal(response, "agent");
  return response.blob();
}

export async function addClip(blob, photoSize) {
  return answered("/clips", {method: "POST", body: form({image: blob, image_size: photoSize.join(",")})}, "agent");
}

/** A cut-out of the object at `tap` (pixels of the photo). A lost connection is tried again; `onRetry` hears of it. */
export function cut(photo, tap, {signal, onRetry}) {
  const fields = {image: photo, tap: tap && `${tap.x.toFixed(1)},${tap.y.toFixed(1)}`};
  return persistent(() => answered("/cut", {method: "POST", body: form(fields), signal}, "server"), signal, onRetry);
}

/** Where the cut-out would land. A lost connection is an answer too: the next frame asks again. */
export async function aim(frame, clip, placement, signal) {
  try {
    const fields = {view: frame, clip, placement: JSON.stringify(placement)};
    return await answered("/aim", {method: "POST", body: form(fields), signal, timeout: 15_000}, "agent");
  } catch (failure) {
    if (failure.code === "unreachable") return {locked: false, reason: failure.code, message: "No connection to the computer. Trying again…"};
    if (failure.code === "slow") return {locked: false, reason: failure.code, message: "The computer is slow to answer…"};
    throw failure;
  }
}

/**
 * Paste; the same key is sent again after a lost connection, so that the cut-out never lands twice. With `markers` the computer may
 * ask for a second photo, of marks that it shows. Resolves to the agent's object.
 */
export function paste(view, clip, placement, key, {signal, onRetry, markers}) {
  const once = async () => {
    const body = form({view, clip, placement: JSON.stringify(placement), key, markers: markers ? "1" : null});
    const response = await sent("/paste", {method: "POST", body, signal});
    const answer = await response.clone().json().catch(() => null);
    if (!answer?.status) throw await refusal(response, "paste");
    return answer;
  };
  return persistent(once, signal, onRetry);
}

async function persistent(once, signal, onRetry) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await once();
    } catch (failure) {
      if (failure.code !== "unreachable" || attempt >= RETRIES_MS.length) throw failure;
      onRetry?.();
      await pause(RETRIES_MS[attempt], signal);
    }
  }
}

async function answered(path, options, hop) {
  const response = await sent(path, options);
  if (!response.ok) throw await refusal(response, hop);
  return response.json().catch(() => { throw foreign(); });
}

export async function sent(path, {timeout = ANSWER_MS, signal, ...options}) {
  const limit = AbortSignal.timeout(timeout);
  const both = signal ? AbortSignal.any?.([signal, limit]) ?? signal : limit;
  try {
    return await fetch(path, {cache: "no-store", credentials: "same-origin", ...options, signal: both});
  } catch (error) {
    if (signal?.aborted) throw new Cancelled();
    if (error.name === "TimeoutError") {
      throw new Failure("agent", `${capital(agent.name)} has not answered in time.`, {
        code: "slow", title: "The computer is very slow", next: "Wait until it is less busy, then try again. Nothing is lost.",
      });
    }
    throw new Failure("agent", `This phone does not reach ${agent.name}.`, {
      code: "unreachable",
      title: "No connection to the computer",
      next: "Check that both are in the same Wi-Fi and that the agent is running there. Nothing is lost.",
    });
  }
}

async function refusal(response, hop) {
  const error = (await response.json().catch(() => null))?.errors?.[0];
  if (!error) return foreign();
  const {code, detail, title} = error;
  if (response.status === 401) return new Failure("pairing", detail, {code, title});
  if (hop === "server" && response.status < 500) return new Failure("photo", detail, {code, title: code === "no_object" ? "No object found there" : title});
  return new Failure(hop, detail, {code, title});
}

function foreign() {
  return new Failure("agent", "Something else answers at this address.", {
    code: "foreign", title: "This is not the agent", next: "Scan the code on the computer again.",
  });
}

function form(fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) body.append(name, value, name);
    else if (value != null) body.append(name, value);
  }
  return body;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

const json = (value) => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(value)});

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new Cancelled());
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(new Cancelled()); }, {once: true});
  });
}
