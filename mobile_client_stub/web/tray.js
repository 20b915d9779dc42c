/** The tray of recent cut-outs: kept on the phone and on the computer; paste again, share, save, delete. */

import * as agent from "/web/agent.js";
import {hover} from "/web/paste.js";
import {$} from "/web/show.js";
import * as show from "/web/show.js";
import * as store from "/web/store.js";

const urls = new Map();
let chosen = null;

/** Keep a cut-out. One that was made on this phone (`mine`) goes to the computer as well, now or when it is reached again. */
export async function add(clip) {
  await store.keep(clip);
  await refresh();
  if (clip.mine) await hand(clip).catch(() => {});
}

const handing = new Map();

/** Give the computer a cut-out of this phone's own; once, however many wait for it. */
export function hand(clip) {
  if (!handing.has(clip.clip)) handing.set(clip.clip, handed(clip).finally(() => handing.delete(clip.clip)));
  return handing.get(clip.clip);
}

async function handed(clip) {
  const {clip: id} = await agent.addClip(clip.blob, clip.image_size);
  await store.forget(clip.clip);
  Object.assign(clip, {clip: id, mine: false});
  await store.keep(clip);
  await refresh();
}

/** What the computer has now, it wins: what was deleted there goes here too. Without a connection the phone's own clips stay. */
export async function synchronise() {
  let there;
  try {
    for (const clip of await store.kept()) if (clip.mine) await hand(clip);
    ({clips: there} = await agent.listClips());
  } catch {
    return refresh();
  }
  const here = new Map((await store.kept()).map((clip) => [clip.clip, clip]));
  for (const id of here.keys()) if (!there.some((clip) => clip.clip === id)) await store.forget(id);
  for (const clip of there) {
    if (here.has(clip.clip)) continue;
    const blob = await agent.clipImage(clip.clip).catch(() => null);
    if (blob) await store.keep({...clip, blob});
  }
  await refresh();
}

async function refresh() {
  const clips = await store.kept();
  const last = clips[0];
  $("clips-last").hidden = !last;
  if (last) $("clips-last").src = url(last);
  $("clips").setAttribute("aria-label", `Recent cut-outs: ${clips.length}`);
  $("tray-note").hidden = clips.length > 0;
  $("tray-note").textContent = "Nothing yet. What you cut out is kept here and on the computer, the last fifty.";
  $("tray-list").replaceChildren(...clips.map(entry));
}

function entry(clip, index) {
  const item = document.createElement("li"), button = document.createElement("button"), image = document.createElement("img");
  image.src = url(clip);
  image.alt = "";
  button.setAttribute("aria-label", `Cut-out ${index + 1}, ${when(clip.created)}`);
  button.append(image);
  button.addEventListener("click", () => choose(clip));
  item.append(button);
  return item;
}

function when(seconds) {
  return new Date(seconds * 1000).toLocaleString([], {dateStyle: "medium", timeStyle: "short"});
}

function url(clip) {
  if (!urls.has(clip.blob)) urls.set(clip.blob, URL.createObjectURL(clip.blob));
  return urls.get(clip.blob);
}

export function open() {
  list();
  $("tray").showModal();
  synchronise();
}

function list() {
  chosen = null;
  $("tray-title").textContent = "Recent cut-outs";
  $("tray-list").hidden = false;
  $("tray-one").hidden = true;
}

function choose(clip) {
  chosen = clip;
  $("tray-title").textContent = "Cut-out";
  $("tray-list").hidden = true;
  $("one-image").src = url(clip);
  $("one-share").hidden = !navigator.canShare?.({files: [file(clip)]});
  $("tray-one").hidden = false;
  $("one-paste").focus();
}

const file = (clip) => new File([clip.blob], "cut-out.png", {type: "image/png"});

export function save(clip) {
  const link = document.createElement("a");
  link.href = url(clip);
  link.download = "cut-out.png";
  link.click();
  show.toast("Saved on this phone.");
}

async function remove(clip) {
  try {
    await agent.deleteClip(clip.clip);
  } catch (failure) {
    if (failure.code !== "no_such_clip") return show.toast(`${failure.message} It is still there.`);
  }
  await store.forget(clip.clip);
  await refresh();
  list();
  show.toast("Deleted here and on the computer.");
}

export function listen() {
  $("clips").addEventListener("click", open);
  $("one-paste").addEventListener("click", () => { $("tray").close(); hover(chosen); });
  $("one-share").addEventListener("click", () => navigator.share({files: [file(chosen)]}).catch(() => {}));
  $("one-save").addEventListener("click", () => { $("tray").close(); save(chosen); });
  $("one-delete").addEventListener("click", () => remove(chosen));
}

/** Another computer's clips, or none. */
export async function clear() {
  await store.forgetAll();
  await refresh();
}
