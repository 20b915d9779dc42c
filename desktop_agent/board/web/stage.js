// The one canvas: paper, cut-outs and corner marks, painted in the screen's own pixels, so that what is where is known exactly.

import { drawMarks, drawPaper, markLayout } from "./paper.js";
import { covers, drawItem } from "./pictures.js";

const ZOOMS = [0.05, 8];

export class Stage {
  /** `onPaint` runs after each painting. */
  constructor(canvas, onPaint) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.onPaint = onPaint;
    this.items = []; // from the lowest to the topmost
    this.code = 0;
    this.pan = { x: 0, y: 0 }; // CSS pixels
    this.zoom = 1;
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.dark.addEventListener("change", () => this.request());
    const observer = new ResizeObserver(([entry]) => this.resize(entry));
    try {
      observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(canvas);
    }
    this.requested = false;
  }

  resize(entry) {
    const device = entry.devicePixelContentBoxSize?.[0];
    const box = entry.contentRect;
    this.canvas.width = Math.max(1, device?.inlineSize ?? Math.round(box.width * devicePixelRatio));
    this.canvas.height = Math.max(1, device?.blockSize ?? Math.round(box.height * devicePixelRatio));
    this.paint(); // a resized canvas is blank until then
  }

  get ratio() {
    return devicePixelRatio;
  }

  /** From board units to device pixels, and what the agent needs to find the page on its screenshot. */
  get view() {
    const { radius, marks } = markLayout(this.canvas.width, this.canvas.height, this.ratio);
    const scale = this.zoom * this.ratio;
    const [x, y] = [this.pan.x * this.ratio, this.pan.y * this.ratio];
    return { width: this.canvas.width, height: this.canvas.height, scale, x, y, marks, radius, code: this.code };
  }

  request() {
    if (this.requested) return;
    this.requested = true;
    requestAnimationFrame(() => {
      this.requested = false;
      this.paint();
    });
  }

  paint() {
    const { view, context } = this;
    drawPaper(context, { ...view, ratio: this.ratio }, this.dark.matches);
    for (const item of this.items) drawItem(context, item, view);
    drawMarks(context, view, this.code, this.dark.matches);
    this.onPaint();
  }

  toBoard(x, y) {
    return { x: (x - this.pan.x) / this.zoom, y: (y - this.pan.y) / this.zoom };
  }

  /** The topmost item that shows something at a point of the page. */
  itemAt(x, y) {
    const point = this.toBoard(x, y);
    return this.items.findLast((item) => covers(item, point));
  }

  moveBy(dx, dy) {
    this.pan = { x: this.pan.x + dx, y: this.pan.y + dy };
    this.request();
  }

  zoomAt(x, y, factor) {
    const zoom = Math.min(ZOOMS[1], Math.max(ZOOMS[0], this.zoom * factor));
    const kept = zoom / this.zoom;
    this.pan = { x: x - (x - this.pan.x) * kept, y: y - (y - this.pan.y) * kept };
    this.zoom = zoom;
    this.request();
  }

  home() {
    this.pan = { x: 0, y: 0 };
    this.zoom = 1;
    this.request();
  }

  /** Pan and zoom so that all cut-outs are in sight. */
  fit(margin = 72) {
    if (!this.items.length) return this.home();
    const box = bounds(this.items);
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    const room = Math.min((width - 2 * margin) / box.width, (height - 2 * margin) / box.height);
    this.zoom = Math.min(1, Math.max(ZOOMS[0], room));
    this.pan = {
      x: width / 2 - (box.left + box.width / 2) * this.zoom,
      y: height / 2 - (box.top + box.height / 2) * this.zoom,
    };
    this.request();
  }
}

/** The rectangle, in board units, that holds all items. */
export function bounds(items) {
  const xs = [];
  const ys = [];
  for (const item of items) {
    const angle = (item.rotation * Math.PI) / 180;
    const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
    const half = { x: (item.scale * (item.width * cos + item.height * sin)) / 2, y: (item.scale * (item.width * sin + item.height * cos)) / 2 };
    xs.push(item.x - half.x, item.x + half.x);
    ys.push(item.y - half.y, item.y + half.y);
  }
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  return { left, top, width: Math.max(...xs) - left, height: Math.max(...ys) - top };
}
