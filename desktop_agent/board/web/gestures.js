// Mouse, pen and touch: drag an item, a handle, or the paper; wheel to pan, with Ctrl to zoom.

import { cornerOf } from "./selection.js";

export const SCALES = [0.001, 1000];
const limited = (scale) => Math.min(SCALES[1], Math.max(SCALES[0], scale));

/** `adjust(id, pose)` shows a new pose at once, `commit(id)` keeps it. */
export function listen(stage, selection, adjust, commit) {
  const { canvas } = stage;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 && event.button !== 1) return;
    event.preventDefault();
    const item = event.button === 0 ? stage.itemAt(event.clientX, event.clientY) : undefined;
    if (event.button === 0) selection.focus(item?.id ?? null);
    follow(canvas, event, item ? moving(item, event) : panning(event), item?.id);
  });

  selection.frame.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest(".handle");
    const { item } = selection;
    if (!handle || !item || event.button !== 0) return;
    event.preventDefault();
    const start = stage.toBoard(event.clientX, event.clientY);
    const corner = handle.dataset.corner;
    follow(handle, event, corner === undefined ? turning(item, start) : scaling(item, start, Number(corner)), item.id);
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) canvas.classList.toggle("over", Boolean(stage.itemAt(event.clientX, event.clientY)));
  });

  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      if (event.ctrlKey) stage.zoomAt(event.clientX, event.clientY, Math.exp((-event.deltaY * unit) / 400));
      else if (event.shiftKey && !event.deltaX) stage.moveBy(-event.deltaY * unit, 0);
      else stage.moveBy(-event.deltaX * unit, -event.deltaY * unit);
    },
    { passive: false },
  );

  function follow(element, down, onMove, id) {
    element.setPointerCapture(down.pointerId);
    canvas.classList.add("busy");
    let moved = false;
    const move = (event) => {
      moved = true;
      onMove(event);
    };
    const end = () => {
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", end);
      element.removeEventListener("pointercancel", end);
      canvas.classList.remove("busy");
      if (moved && id) commit(id);
    };
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", end);
    element.addEventListener("pointercancel", end);
  }

  function panning(down) {
    let last = down;
    return (event) => {
      stage.moveBy(event.clientX - last.clientX, event.clientY - last.clientY);
      last = event;
    };
  }

  function moving(item, down) {
    const start = stage.toBoard(down.clientX, down.clientY);
    return (event) => {
      const point = stage.toBoard(event.clientX, event.clientY);
      adjust(item.id, { x: item.x + point.x - start.x, y: item.y + point.y - start.y });
    };
  }

  function scaling(item, start, corner) {
    const anchor = cornerOf(item, (corner + 2) % 4); // the opposite corner stays where it is
    const reach = { x: start.x - anchor.x, y: start.y - anchor.y };
    const length = reach.x ** 2 + reach.y ** 2;
    return (event) => {
      const point = stage.toBoard(event.clientX, event.clientY);
      const along = ((point.x - anchor.x) * reach.x + (point.y - anchor.y) * reach.y) / length;
      const scale = limited(item.scale * Math.max(along, 0.02));
      const ratio = scale / item.scale;
      adjust(item.id, { scale, x: anchor.x + (item.x - anchor.x) * ratio, y: anchor.y + (item.y - anchor.y) * ratio });
    };
  }

  function turning(item, start) {
    const from = Math.atan2(start.y - item.y, start.x - item.x);
    return (event) => {
      const point = stage.toBoard(event.clientX, event.clientY);
      let rotation = item.rotation + ((Math.atan2(point.y - item.y, point.x - item.x) - from) * 180) / Math.PI;
      if (event.shiftKey) rotation = Math.round(rotation / 15) * 15;
      adjust(item.id, { rotation });
    };
  }
}
