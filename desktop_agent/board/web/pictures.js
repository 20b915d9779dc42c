// The cut-outs' pixels. Each picture is kept in halved sizes, so that a shrunken one is sharp without jagged edges in every browser.

const ALPHA_SIDE = 256;
const cache = new Map(); // image name -> Promise of a picture, or a picture
const ready = new Map();

function halved(source, width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(width / 2);
  canvas.height = Math.ceil(height / 2);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "low"; // bilinear at exactly one half is the mean of four
  context.drawImage(source, 0, 0, width / 2, height / 2);
  return canvas;
}

function alphaOf(level) {
  const canvas = document.createElement("canvas");
  canvas.width = level.width;
  canvas.height = level.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(level, 0, 0);
  return context.getImageData(0, 0, level.width, level.height);
}

async function fetched(image) {
  const response = await fetch(`/board/images/${image}.png`);
  if (!response.ok) throw new Error("A picture of the board could not be loaded. Reload the page.");
  const levels = [await createImageBitmap(await response.blob())];
  for (let side = Math.max(levels[0].width, levels[0].height); side > 8; side /= 2) {
    const last = levels.at(-1);
    const factor = 2 ** (levels.length - 1);
    levels.push(halved(last, levels[0].width / factor, levels[0].height / factor));
  }
  const small = levels.findIndex((level) => Math.max(level.width, level.height) <= ALPHA_SIDE);
  return { levels, alpha: alphaOf(levels[small]), factor: 2 ** small };
}

/** Load what is missing; rejects for none: a picture that cannot be had stays away, and `onFailure` is told. */
export async function load(images, onFailure) {
  await Promise.all(
    images.map(async (image) => {
      if (!cache.has(image)) cache.set(image, fetched(image));
      try {
        ready.set(image, await cache.get(image));
      } catch (error) {
        cache.delete(image);
        onFailure(error);
      }
    }),
  );
}

/** Give back the memory of pictures that are on the board no more. */
export function keepOnly(images) {
  for (const image of [...cache.keys()].filter((name) => !images.has(name))) {
    cache.delete(image);
    ready.delete(image);
  }
}

/** Draw an item; `scale`, `x`, `y` take board units to the context's pixels. */
export function drawItem(context, item, { scale, x, y }) {
  const picture = ready.get(item.image);
  if (!picture) return;
  const angle = (item.rotation * Math.PI) / 180;
  const size = item.scale * scale;
  const wanted = Math.max(0, Math.floor(Math.log2(1 / size) + 1e-6));
  const index = Math.min(wanted, picture.levels.length - 1);
  const [level, factor] = [picture.levels[index], 2 ** index];
  const [cos, sin] = [size * factor * Math.cos(angle), size * factor * Math.sin(angle)];
  context.save();
  context.setTransform(cos, sin, -sin, cos, item.x * scale + x, item.y * scale + y);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(level, -item.width / 2 / factor, -item.height / 2 / factor);
  context.restore();
}

/** Whether the item shows anything at a board point. */
export function covers(item, point) {
  const picture = ready.get(item.image);
  if (!picture) return false;
  const angle = (-item.rotation * Math.PI) / 180;
  const [dx, dy] = [(point.x - item.x) / item.scale, (point.y - item.y) / item.scale];
  const column = Math.floor((dx * Math.cos(angle) - dy * Math.sin(angle) + item.width / 2) / picture.factor);
  const row = Math.floor((dx * Math.sin(angle) + dy * Math.cos(angle) + item.height / 2) / picture.factor);
  const { alpha } = picture;
  if (column < 0 || row < 0 || column >= alpha.width || row >= alpha.height) return false;
  return alpha.data[4 * (row * alpha.width + column) + 3] > 12;
}
