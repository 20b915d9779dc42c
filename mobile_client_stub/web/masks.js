/**
 * From a photo and a model's map to a cut-out, as the server's pipeline does it: pictures are RGBA bytes, maps are floats in
 * [0, 1], both row by row; {width, height, data}.
 */

const OBJECT_THRESHOLD = 0.5;     // a pixel belongs to an object where the map says more
const MIN_OBJECT_AREA = 2e-4;     // smaller regions (share of the picture) are noise
const SPECK_AREA = 0.02;          // without a tap, regions below this share of the largest are dropped
const SOLVER_SIDE = 320;
const BLURS = [30, 3];            // radii of the two steps of the colour estimate, pixels at SOLVER_SIDE

/** The picture squeezed to width x height as three float planes (NCHW), each pixel the mean of the area that it covers. */
export function squeezed(picture, width, height) {
  const columns = areas(picture.width, width), rows = areas(picture.height, height), {data} = picture;
  const planes = new Float32Array(3 * width * height), sums = new Float32Array(3 * width), size = width * height;
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let j = rows.start[y]; j < rows.start[y + 1]; j++) {
      const line = rows.pixel[j] * picture.width, down = rows.share[j];
      for (let x = 0; x < width; x++) {
        let r = 0, g = 0, b = 0;
        for (let i = columns.start[x]; i < columns.start[x + 1]; i++) {
          const at = 4 * (line + columns.pixel[i]), share = columns.share[i];
          r += share * data[at]; g += share * data[at + 1]; b += share * data[at + 2];
        }
        sums[3 * x] += down * r; sums[3 * x + 1] += down * g; sums[3 * x + 2] += down * b;
      }
    }
    for (let x = 0, at = y * width; x < width; x++, at++) {
      for (let c = 0; c < 3; c++) planes[c * size + at] = Math.round(sums[3 * x + c]);
    }
  }
  return planes;
}

/**
 * For each of `to` cells on `from` pixels the pixels that it covers, with shares that sum to one (the two nearest where it
 * enlarges): those of cell i stand at start[i] to start[i + 1].
 */
function areas(from, to) {
  const pixel = [], share = [], start = [0];
  for (let cell = 0; cell < to; cell++) {
    if (from < to) {
      const at = Math.min(Math.max((cell + 0.5) * from / to - 0.5, 0), from - 1), low = Math.floor(at);
      pixel.push(low, Math.min(low + 1, from - 1));
      share.push(1 - (at - low), at - low);
    } else {
      const left = cell * from / to, right = (cell + 1) * from / to;
      for (let i = Math.floor(left); i < Math.min(Math.ceil(right - 1e-9), from); i++) {
        pixel.push(i);
        share.push((Math.min(i + 1, right) - Math.max(i, left)) / (right - left));
      }
    }
    start.push(pixel.length);
  }
  return {pixel: Int32Array.from(pixel), share: Float32Array.from(share), start: Int32Array.from(start)};
}

/**
 * The map with everything but the meant object at zero; null where there is none. `tap` is a position in pixels of the map: the
 * region under it, else the nearest one; without it every region but specks. A soft border goes with the nearest region.
 */
export function selected(map, tap) {
  const {labels, sizes} = regions(map);
  const large = sizes.map((size, label) => label && size >= Math.max(MIN_OBJECT_AREA * map.data.length, 4) ? label : 0).filter(Boolean);
  if (!large.length) return null;
  const largest = Math.max(...large.map((label) => sizes[label]));
  const wanted = new Set(tap ? [nearest(map, labels, new Set(large), tap)] : large.filter((label) => sizes[label] >= SPECK_AREA * largest));
  const spread = spreadOut(map, labels);
  const data = map.data.map((value, i) => wanted.has(spread[i]) ? value : 0);
  let sum = 0, count = 0;
  for (let i = 0; i < data.length; i++) if (data[i] > OBJECT_THRESHOLD) { sum += data[i]; count++; }
  return {...map, data, score: sum / count};
}

/** Connected regions (eight neighbours) above the threshold: a label for each pixel, 0 outside, and the regions' sizes. */
function regions({width, height, data}) {
  const labels = new Int32Array(data.length), sizes = [0], stack = [];
  for (let first = 0; first < data.length; first++) {
    if (labels[first] || !(data[first] > OBJECT_THRESHOLD)) continue;
    const label = sizes.push(0) - 1;
    labels[first] = label;
    stack.push(first);
    while (stack.length) {
      const i = stack.pop(), x = i % width, y = (i - x) / width;
      sizes[label]++;
      for (let v = Math.max(y - 1, 0); v <= Math.min(y + 1, height - 1); v++) {
        for (let u = Math.max(x - 1, 0); u <= Math.min(x + 1, width - 1); u++) {
          const j = v * width + u;
          if (!labels[j] && data[j] > OBJECT_THRESHOLD) { labels[j] = label; stack.push(j); }
        }
      }
    }
  }
  return {labels, sizes};
}

function nearest({width, height}, labels, allowed, tap) {
  let best = 0, least = Infinity;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const label = labels[y * width + x], distance = (x - tap.x) ** 2 + (y - tap.y) ** 2;
    if (distance < least && allowed.has(label)) [best, least] = [label, distance];
  }
  return best;
}

/** Every pixel gets the label of the nearest region, in steps from pixel to pixel. */
function spreadOut({width, height}, labels) {
  const spread = labels.slice(), queue = [];
  for (let i = 0; i < spread.length; i++) if (spread[i]) queue.push(i);
  for (let head = 0; head < queue.length; head++) {
    const i = queue[head], x = i % width, y = (i - x) / width;
    for (const [u, v] of [[x - 1, y], [x + 1, y], [x, y - 1], [x, y + 1]]) {
      const j = v * width + u;
      if (u < 0 || v < 0 || u >= width || v >= height || spread[j]) continue;
      spread[j] = spread[i];
      queue.push(j);
    }
  }
  return spread;
}

/** The map stretched to width x height as bytes (bilinear). */
export function stretched(map, width, height) {
  const out = new Uint8ClampedArray(width * height), line = new Float32Array(map.width);
  const columns = neighbours(width, map.width), rows = neighbours(height, map.height);
  for (let y = 0; y < height; y++) {
    const top = rows.low[y] * map.width, bottom = rows.high[y] * map.width, down = rows.share[y];
    let most = 0;
    for (let x = 0; x < map.width; x++) {
      line[x] = 255 * (map.data[top + x] * (1 - down) + map.data[bottom + x] * down);
      if (line[x] > most) most = line[x];
    }
    if (most < 0.5) continue;  // nothing of the object in this row
    for (let x = 0, at = y * width; x < width; x++, at++) {
      const left = line[columns.low[x]];
      out[at] = left + (line[columns.high[x]] - left) * columns.share[x];
    }
  }
  return out;
}

/** For each of `count` cells the two of `from` cells between whose centres it lies, and how near it is to the second. */
function neighbours(count, from) {
  const [low, high, share] = [new Int32Array(count), new Int32Array(count), new Float32Array(count)];
  for (let i = 0; i < count; i++) {
    const at = Math.min(Math.max((i + 0.5) * from / count - 0.5, 0), from - 1);
    low[i] = Math.floor(at);
    high[i] = Math.min(low[i] + 1, from - 1);
    share[i] = at - low[i];
  }
  return {low, high, share};
}

/** The photo under its alpha, cropped: {width, height, data (RGBA), box: [left, top, right, bottom]}; null where nothing is left. */
export function composed(photo, alpha) {
  const box = bounds(photo.width, photo.height, alpha);
  if (!box) return null;
  const [left, top] = box, width = box[2] - left, height = box[3] - top;
  const data = new Uint8ClampedArray(4 * width * height);
  for (let y = 0; y < height; y++) {
    const from = (top + y) * photo.width + left;
    data.set(photo.data.subarray(4 * from, 4 * (from + width)), 4 * y * width);
    for (let x = 0; x < width; x++) data[4 * (y * width + x) + 3] = alpha[from + x];
  }
  clean({width, height, data});
  return {width, height, data, box};
}

function bounds(width, height, alpha) {
  let left = width, top = height, right = 0, bottom = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0, at = y * width; x < width; x++, at++) {
      if (!alpha[at]) continue;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
      if (y < top) top = y;
      bottom = y + 1;
    }
  }
  return right ? [left, top, right, bottom] : null;
}

/**
 * Take the old background out of the soft edge's colours: blurred foreground and background estimates and one closed-form step
 * (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021), the estimates at a bounded size.
 */
function clean(picture) {
  const reduction = Math.min(1, SOLVER_SIDE / Math.max(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * reduction)), height = Math.max(1, Math.round(picture.height * reduction));
  const image = squeezed(picture, width, height), size = width * height, alpha = new Float32Array(size);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const sx = Math.min(Math.floor((x + 0.5) / reduction), picture.width - 1), sy = Math.min(Math.floor((y + 0.5) / reduction), picture.height - 1);
    alpha[y * width + x] = picture.data[4 * (sy * picture.width + sx) + 3] / 255;
  }
  const rest = alpha.map((a) => 1 - a), front = image.slice(), back = image.slice();
  for (const radius of BLURS) {
    const weights = [blurred(alpha, width, height, radius), blurred(rest, width, height, radius)];
    for (let c = 0; c < 3; c++) {
      const [f, b] = [front.subarray(c * size, (c + 1) * size), back.subarray(c * size, (c + 1) * size)];
      const smoothF = blurred(f.map((v, i) => v * alpha[i]), width, height, radius), smoothB = blurred(b.map((v, i) => v * rest[i]), width, height, radius);
      for (let i = 0; i < size; i++) {
        const F = smoothF[i] / (weights[0][i] + 1e-5), B = smoothB[i] / (weights[1][i] + 1e-5), a = alpha[i];
        b[i] = B;
        f[i] = Math.min(Math.max(F + a * (image[c * size + i] - a * F - (1 - a) * B), 0), 255);
      }
    }
  }
  for (let i = 0; i < picture.data.length; i += 4) {
    const a = picture.data[i + 3] / 255;
    if (a === 1) continue;
    if (a === 0) {
      picture.data[i] = picture.data[i + 1] = picture.data[i + 2] = 0;
      continue;
    }
    const p = i / 4, x = p % picture.width, y = (p - x) / picture.width;
    const at = Math.min(Math.floor(y * reduction), height - 1) * width + Math.min(Math.floor(x * reduction), width - 1);
    for (let c = 0; c < 3; c++) {
      const F = front[c * size + at], B = back[c * size + at], observed = picture.data[i + c];
      picture.data[i + c] = F + a * (observed - a * F - (1 - a) * B) / (a * a + (1 - a) * (1 - a));
    }
  }
}

/** Box means of side 2 * radius + 1, inside the picture only. */
function blurred(plane, width, height, radius) {
  const across = new Float32Array(plane.length), out = new Float32Array(plane.length);
  for (let y = 0; y < height; y++) slide(plane, across, y * width, 1, width, radius);
  for (let x = 0; x < width; x++) slide(across, out, x, width, height, radius);
  return out;
}

function slide(from, to, start, step, count, radius) {
  let sum = 0, inside = 0;
  for (let i = -radius; i < count; i++) {
    if (i + radius < count) { sum += from[start + (i + radius) * step]; inside++; }
    if (i - radius - 1 >= 0) { sum -= from[start + (i - radius - 1) * step]; inside--; }
    if (i >= 0) to[start + i * step] = sum / inside;
  }
}
