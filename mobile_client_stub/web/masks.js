/**
 * From a photo and a model's map to a cut-out, as the server's pipeline does it: pictures are RGBA bytes, maps are floats in
 * [0, 1], both row by row; {width, height, data}.
 */

const OBJECT_THRESHOLD = 0.5;     // a pixel belongs to an object where the map says more
const MIN_OBJECT_AREA = 2e-4;     // smaller regions (share of the picture) are noise
const SPECK_AREA = 0.02;          // without a tap, regions below this share of the largest are dropped
const SOLVER_SIDE = 480;
const BLURS = [45, 4];            // radii of the two steps of the colour estimate, pixels at SOLVER_SIDE

/** The picture squeezed to width x height as three float planes (NCHW), each pixel the mean of the area that it covers. */
export function squeezed(picture, width, height) {
  const columns = areas(picture.width, width), rows = areas(picture.height, height);
  const planes = new Float32Array(3 * width * height), line = new Float32Array(3 * width);
  for (let y = 0; y < height; y++) {
    const sums = new Float32Array(3 * width);
    for (const [sy, wy] of rows[y]) {
      const start = sy * picture.width * 4;
      line.fill(0);
      for (let x = 0; x < width; x++) {
        let r = 0, g = 0, b = 0;
        for (const [sx, wx] of columns[x]) {
          const at = start + sx * 4;
          r += wx * picture.data[at]; g += wx * picture.data[at + 1]; b += wx * picture.data[at + 2];
        }
        line[3 * x] = r; line[3 * x + 1] = g; line[3 * x + 2] = b;
      }
      for (let i = 0; i < line.length; i++) sums[i] += wy * line[i];
    }
    for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) planes[(c * height + y) * width + x] = Math.round(sums[3 * x + c]);
  }
  return planes;
}

/** For each of `to` cells on `from` pixels: [pixel, share] pairs whose shares sum to one; between two pixels where it enlarges. */
function areas(from, to) {
  return Array.from({length: to}, (_, cell) => {
    if (from < to) return between((cell + 0.5) * from / to - 0.5, from);
    const [start, end] = [cell * from / to, (cell + 1) * from / to], shares = [];
    for (let pixel = Math.floor(start); pixel < Math.min(Math.ceil(end - 1e-9), from); pixel++) {
      shares.push([pixel, (Math.min(pixel + 1, end) - Math.max(pixel, start)) / (end - start)]);
    }
    return shares;
  });
}

function between(at, count) {
  const clamped = Math.min(Math.max(at, 0), count - 1), low = Math.floor(clamped), share = clamped - low;
  return share ? [[low, 1 - share], [low + 1, share]] : [[low, 1]];
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
  const out = new Uint8ClampedArray(width * height), columns = [], rows = [];
  for (let x = 0; x < width; x++) columns.push(pair((x + 0.5) * map.width / width - 0.5, map.width));
  for (let y = 0; y < height; y++) rows.push(pair((y + 0.5) * map.height / height - 0.5, map.height));
  const line = new Float32Array(map.width);
  for (let y = 0; y < height; y++) {
    const [top, bottom, down] = rows[y];
    for (let x = 0; x < map.width; x++) line[x] = 255 * (map.data[top * map.width + x] * (1 - down) + map.data[bottom * map.width + x] * down);
    for (let x = 0; x < width; x++) {
      const [left, right, share] = columns[x];
      out[y * width + x] = line[left] * (1 - share) + line[right] * share;
    }
  }
  return out;
}

function pair(at, count) {
  const clamped = Math.min(Math.max(at, 0), count - 1), low = Math.floor(clamped);
  return [low, Math.min(low + 1, count - 1), clamped - low];
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
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    if (!alpha[y * width + x]) continue;
    left = Math.min(left, x); right = Math.max(right, x + 1);
    top = Math.min(top, y); bottom = y + 1;
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
    const p = i / 4, x = p % picture.width, y = (p - x) / picture.width;
    const at = Math.min(Math.floor(y * reduction), height - 1) * width + Math.min(Math.floor(x * reduction), width - 1);
    for (let c = 0; c < 3; c++) {
      const F = front[c * size + at], B = back[c * size + at], observed = picture.data[i + c];
      picture.data[i + c] = a ? F + a * (observed - a * F - (1 - a) * B) / (a * a + (1 - a) * (1 - a)) : 0;
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
