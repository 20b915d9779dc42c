// The collage as a PNG: the cut-outs alone, transparent around them, at the resolution of the sharpest one.

import { bounds } from "./stage.js";
import { drawItem } from "./pictures.js";

const MAX_SIDE = 8192;
const MAX_PIXELS = 40e6;

function exportScale(items, box) {
  const sharpest = Math.max(...items.map((item) => 1 / item.scale));
  return Math.min(sharpest, MAX_SIDE / Math.max(box.width, box.height), Math.sqrt(MAX_PIXELS / (box.width * box.height)));
}

/** A PNG blob of all items; they must be loaded. */
export function collage(items) {
  const box = bounds(items);
  const scale = exportScale(items, box);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.ceil(box.width * scale - 1e-6));
  canvas.height = Math.max(1, Math.ceil(box.height * scale - 1e-6));
  const context = canvas.getContext("2d");
  for (const item of items) drawItem(context, item, { scale, x: -box.left * scale, y: -box.top * scale });
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The browser could not make the PNG. Scale the cut-outs down."))));
  });
}

export async function download(items) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await collage(items));
  link.download = `board-${new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
