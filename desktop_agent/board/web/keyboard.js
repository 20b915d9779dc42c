// Keys: what each does to the chosen cut-out, or to the board.

import { SCALES } from "./gestures.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const TURNS = { ",": -1, ".": 1, "<": -15, ">": 15 };
const LEVELS = { "[": "backward", "]": "forward", "{": "back", "}": "front" };
const GROWTH = { "+": 1.05, "=": 1.05, "-": 1 / 1.05, "_": 1 / 1.05 };

/** `commands` are the toolbar's; `nudge(id, pose)` shows a pose and keeps it when the keys have come to rest. */
export function listen(stage, selection, commands, nudge) {
  addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.altKey) return;
    const used = event.ctrlKey || event.metaKey ? withControl(event) : plain(event);
    if (used) event.preventDefault();
  });

  function withControl(event) {
    const key = event.key.toLowerCase();
    if (key === "z") commands[event.shiftKey ? "redo" : "undo"]();
    else if (key === "y") commands.redo();
    else if (key === "s") commands.save();
    else if (key === "d") commands.duplicate();
    else return false;
    return true;
  }

  function plain(event) {
    const { key } = event;
    if (key === "?") commands.help();
    else if (key === "f" || key === "F") commands.fit();
    else if (key === "0") commands.home();
    else if (key === "Escape") selection.focus(null);
    else return selection.item ? onItem(selection.item, event) : onPaper(event);
    return true;
  }

  function onItem(item, { key, shiftKey }) {
    if (ARROWS[key]) {
      const step = (shiftKey ? 10 : 1) / stage.zoom;
      nudge(item.id, { x: item.x + ARROWS[key][0] * step, y: item.y + ARROWS[key][1] * step });
    } else if (TURNS[key]) nudge(item.id, { rotation: item.rotation + TURNS[key] });
    else if (GROWTH[key]) nudge(item.id, { scale: Math.min(SCALES[1], Math.max(SCALES[0], item.scale * GROWTH[key])) });
    else if (LEVELS[key]) commands.restack(LEVELS[key]);
    else if (key === "Delete" || key === "Backspace") commands.remove();
    else return false;
    return true;
  }

  function onPaper({ key, shiftKey, target }) {
    if (!ARROWS[key] || target.closest?.("#tools")) return false;
    const step = shiftKey ? 200 : 40;
    stage.moveBy(-ARROWS[key][0] * step, -ARROWS[key][1] * step);
    return true;
  }
}
