// The page: keeps in step with the agent by long polling, shows the board, and sends what the person does to it.

import * as api from "./api.js";
import * as gestures from "./gestures.js";
import * as keyboard from "./keyboard.js";
import * as pictures from "./pictures.js";
import { download } from "./save.js";
import { Selection } from "./selection.js";
import { Stage } from "./stage.js";

const BARE_MS = 4000;
const REST_MS = 350;

const find = (id) => document.getElementById(id);
const page = crypto.getRandomValues(new Uint32Array(4)).reduce((name, part) => name + part.toString(36), "p");
const stage = new Stage(find("stage"), () => {
  selection.place();
  find("zoom").textContent = `${Math.round(stage.zoom * 100)} %`;
});
const selection = new Selection(stage, find("items"), find("frame"), showTools);

let board = { revision: -1, items: [], can_undo: false, can_redo: false };
let editing = null; // {id, pose, timer}: what the person is doing at this moment, not yet kept
let queue = Promise.resolve();
let bareTimer = 0;
let noticeTimer = 0;

function show() {
  stage.items = board.items.map((item) => (item.id === editing?.id ? { ...item, ...editing.pose } : item));
  find("empty").hidden = board.revision < 0 || board.items.length > 0;
  selection.refresh();
  showTools();
  stage.request();
}

function showTools() {
  for (const button of document.querySelectorAll("#tools [data-one]")) button.disabled = !selection.item;
  document.querySelector('[data-do="undo"]').disabled = !board.can_undo;
  document.querySelector('[data-do="redo"]').disabled = !board.can_redo;
  for (const name of ["save", "fit"]) document.querySelector(`[data-do="${name}"]`).disabled = !board.items.length;
}

function complain(message, forMs = 8000) {
  clearTimeout(noticeTimer);
  find("notice").textContent = message;
  find("notice").hidden = !message;
  if (message && forMs) noticeTimer = setTimeout(() => complain(""), forMs);
}

const twoFrames = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

/** Take over a state of the board once its pictures are there. */
async function accept(state) {
  await pictures.load([...new Set(state.items.map((item) => item.image))], (error) => complain(error.message));
  if (state.revision < board.revision && board.revision - state.revision < 1000) return; // an answer overtaken by a newer one
  const before = board.items.length;
  board = state;
  pictures.keepOnly(new Set(state.items.map((item) => item.image)));
  if (Number.isInteger(state.code)) stage.code = state.code;
  show();
  if (before !== state.items.length) find("news").textContent = `${state.items.length} cut-outs on the board`;
}

/** Clear the sheet of everything that is not the board while the agent looks at it. */
function bare() {
  document.body.classList.add("bare");
  clearTimeout(bareTimer);
  bareTimer = setTimeout(() => document.body.classList.remove("bare"), BARE_MS);
}

async function acknowledge(hail) {
  stage.request();
  await twoFrames();
  await api.painted({ page, revision: board.revision, hail, view: stage.view });
}

async function poll() {
  let failed = false;
  for (;;) {
    if (document.hidden) await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
    if (document.hidden) continue;
    const asked = performance.now();
    try {
      const known = board.revision;
      const state = await api.changes(page, known);
      if (failed) complain("");
      failed = false;
      if (state.hail !== null) bare();
      await accept(state);
      if (state.hail !== null || state.revision !== known) await acknowledge(state.hail);
      else if (performance.now() - asked < 1000) await pause(Math.max(1000, state.pause_ms));
    } catch (error) {
      if (document.hidden) continue;
      failed = true;
      const lost = error instanceof TypeError;
      complain(lost ? "The agent does not answer. Start it again; this page reconnects by itself." : error.message, 0);
      await pause(2000);
    }
  }
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Send changes one after the other; each answer is the new board. */
function send(request) {
  queue = queue.then(async () => {
    try {
      const state = await request();
      await accept({ ...state, code: stage.code });
      return state;
    } catch (error) {
      complain(error instanceof TypeError ? "The agent does not answer; the change was not kept." : error.message);
      show();
      return null;
    }
  });
  return queue;
}

function adjust(id, pose) {
  if (editing && editing.id !== id) keep();
  editing = { id, pose: { ...editing?.pose, ...pose }, timer: 0 };
  show();
}

function nudge(id, pose) {
  clearTimeout(editing?.timer);
  adjust(id, pose);
  editing.timer = setTimeout(keep, REST_MS);
}

/** Keep what the person was doing. */
function keep() {
  if (!editing) return;
  const done = editing;
  clearTimeout(done.timer);
  send(() => api.change(done.id, done.pose)).then(() => {
    if (editing === done) editing = null;
    show();
  });
}

function onChosen(request) {
  const { item } = selection;
  if (!item) return null;
  keep();
  return send(() => request(item.id));
}

const commands = {
  undo: () => (keep(), send(api.undo)),
  redo: () => (keep(), send(api.redo)),
  duplicate: async () => {
    const state = await onChosen(api.duplicate);
    if (state) selection.focus(state.added);
  },
  restack: (level) => onChosen((id) => api.restack(id, level)),
  forward: () => commands.restack("forward"),
  backward: () => commands.restack("backward"),
  remove: () => onChosen(api.remove),
  fit: () => stage.fit(),
  home: () => stage.home(),
  save: () => board.items.length && download(stage.items).catch((error) => complain(error.message)),
  help: () => find("help").showModal(),
};

find("tools").addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) commands[button.dataset.do]();
});
document.addEventListener("visibilitychange", () => document.hidden && api.leave(page));
addEventListener("pagehide", () => api.leave(page));
gestures.listen(stage, selection, adjust, keep);
keyboard.listen(stage, selection, commands, nudge);
showTools();
poll();
