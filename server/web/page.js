// Try the server: a picture goes to v1/cut, the cut-out comes back and is shown over the chosen background.

const $ = (id) => document.getElementById(id);
const status = $("status");
let photo = null;      // the chosen File or Blob
let tap = null;        // [x, y] in pixels of the upright picture, centres at integers
let cutout = null;     // ImageBitmap of the answer: full size, straight alpha
let box = null;        // [left, top, right, bottom]
let compositions = 0;  // only the latest one is shown
let running = null;    // AbortController of the request under way

function state(name, text) {
  document.body.dataset.state = name;
  status.textContent = text;
}

function choose(file) {
  if (!file || !(file.type.startsWith("image/") || /\.hei[cf]$/i.test(file.name))) {  // many systems know no type for HEIC
    state("failed", "That is not a picture: choose a JPEG, PNG, WebP or HEIC file.");
    return;
  }
  photo = file;
  tap = cutout = null;
  $("after").removeAttribute("src");
  $("mark").hidden = $("options").hidden = true;
  $("stage").hidden = $("before").hidden = false;
  show($("before"), file);
  cut();
}

function show(image, blob) {
  const old = image.src;
  image.src = URL.createObjectURL(blob);
  document.body.classList.toggle("uncut", cutout === null);
  if (old.startsWith("blob:")) URL.revokeObjectURL(old);
}

async function cut() {
  running?.abort();
  const mine = (running = new AbortController());
  state("cutting", "Cutting…");
  const form = new FormData();
  form.append("image", photo);
  if (tap) form.append("tap", tap.join(","));
  const headers = $("key").value ? { "X-Api-Key": $("key").value } : {};
  try {
    const answer = await fetch("v1/cut", { method: "POST", body: form, headers, signal: mine.signal });
    if (!answer.ok) {
      await refuse(answer);
      return;
    }
    const figures = JSON.parse(answer.headers.get("X-Cutout"));
    const bitmap = await createImageBitmap(await answer.blob(), { premultiplyAlpha: "none" });
    if (mine !== running) return;
    [cutout, box] = [bitmap, figures.box];
    await compose();
    split(Math.round(50 * (box[0] + box[2]) / bitmap.width));  // half of the object is seen cut out, wherever it is
    $("options").hidden = false;
    state("done", `Model ${figures.model}, ${Math.floor(figures.score * 100)} % sure. The object covers ${Math.round(figures.coverage * 100)} % of the picture.`);
  } catch (error) {
    if (error.name !== "AbortError") state("failed", "The server does not answer: check that it still runs, then try again.");
  }
}

async function refuse(answer) {
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) {
    $("options").hidden = $("keyLabel").hidden = false;
    $("key").focus();
  }
  $("stage").hidden = cutout === null && answer.status === 400;
  state("failed", body.errors?.[0]?.detail ?? `The server answered ${answer.status}: try again.`);
}

function wantedColor() {
  return document.querySelector("input[name=background]:checked").value === "color" ? $("color").value : null;
}

// The picture that is shown is of the photo's size; the one that is downloaded is cropped where that is wanted.
async function compose() {
  if (!cutout) return;
  const mine = ++compositions;
  const whole = [0, 0, cutout.width, cutout.height];
  const full = await painted(whole);
  const file = $("crop").checked ? await painted(box) : full;
  if (mine !== compositions) return;
  show($("after"), full);
  const link = $("download");
  if (link.href.startsWith("blob:")) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(file);
}

function painted([left, top, right, bottom]) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [right - left, bottom - top];
  const context = canvas.getContext("2d");
  const color = wantedColor();
  if (color) {
    context.fillStyle = color;
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  context.drawImage(cutout, -left, -top);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function split(percent) {
  $("slider").value = percent;
  $("compare").style.setProperty("--split", `${percent}%`);
}

$("file").addEventListener("change", (event) => {
  choose(event.target.files[0]);
  event.target.value = "";  // the same file may be chosen again
});
$("before").addEventListener("error", (event) => { event.target.hidden = true; });  // HEIC: the server reads it all the same
$("slider").addEventListener("input", (event) => split(event.target.value));
$("crop").addEventListener("change", compose);
$("color").addEventListener("input", () => {
  document.querySelector("input[name=background][value=color]").checked = true;
  compose();
});
document.querySelectorAll("input[name=background]").forEach((radio) => radio.addEventListener("change", compose));
$("key").addEventListener("change", () => photo && cut());
$("options").addEventListener("submit", (event) => event.preventDefault());

$("compare").addEventListener("click", (event) => {
  const area = (cutout ? $("after") : $("before")).getBoundingClientRect();
  const [width, height] = cutout ? [cutout.width, cutout.height] : [$("before").naturalWidth, $("before").naturalHeight];
  const [u, v] = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  if (!width || u < 0 || u > 1 || v < 0 || v > 1) return;
  tap = [u * width - 0.5, v * height - 0.5].map((value) => Math.round(value * 10) / 10);
  const mark = $("mark");
  [mark.style.left, mark.style.top, mark.hidden] = [`${u * 100}%`, `${v * 100}%`, false];
  cut();
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("over");
});
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  choose(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) choose(event.clipboardData.files[0]);
});
