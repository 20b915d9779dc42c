/** What the person sees and hears around the picture: states, the pill, cards, toasts, buzzes. */

const HOPS = {
  copy: [["phone", "phone"], ["agent", "computer"], ["server", "cut-out"]],
  paste: [["phone", "phone"], ["agent", "computer"], ["locate", "screen"], ["paste", "application"]],
};

export const $ = (id) => document.getElementById(id);

/** Show the controls of one state. `file` is true where pictures come from files instead of the live camera. */
export function state(name, file = false) {
  document.body.dataset.state = name;
  const names = [name, file && `file-${name}`];
  for (const control of document.querySelectorAll("#controls [data-in]")) {
    const places = control.dataset.in.split(" ");
    const replaced = file && ["shutter", "paste", "torch", "switch", "reset"].includes(control.id) && ["camera", "floating"].includes(name);
    control.hidden = !places.some((place) => names.includes(place)) || control.dataset.absent === "true" || replaced;
  }
  $("top").hidden = $("controls").hidden = name === "boot";
  $("back").hidden = ["boot", "camera", "pasted"].includes(name);
}

/** A control that this phone or camera does not have stays away. */
export function absent(id, isAbsent) { $(id).dataset.absent = String(isAbsent); }

let spoken = "";

/** The sentence at the top; `mood` is plain, busy, good or warn. */
export function pill(text, mood = "plain") {
  $("pill").hidden = !text;
  $("pill").dataset.mood = mood;
  $("pill").classList.toggle("long", text.length > 60);
  if ($("pill-text").textContent !== text) $("pill-text").textContent = text;
  if (text !== spoken) say(spoken = text);
}

/** For screen readers only. */
export function say(text) { $("said").textContent = text; }

export function aimState(name) { document.body.dataset.aim = name; }

export function buzz(...pattern) { navigator.vibrate?.(pattern); }

/** A round progress mark at a stage point; null takes it away. */
export function ring(at) { moved($("ring"), at); }

/** The green mark at the stage point where the cut-out landed. */
export function landed(at) {
  moved($("landed"), at);
  if (at) setTimeout(() => { $("landed").hidden = true; }, 1100);
}

function moved(element, at) {
  element.hidden = !at;
  if (at) Object.assign(element.style, {left: `${at.x}px`, top: `${at.y}px`});
}

export function flash() {
  document.body.classList.add("shooting");
  setTimeout(() => document.body.classList.remove("shooting"), 200);
}

export function empty(title, text = "", icon = "camera") {
  $("empty").hidden = !title;
  $("empty-title").textContent = title ?? "";
  $("empty-text").textContent = text;
  $("empty-icon").setAttribute("href", `#i-${icon}`);
}

/**
 * A card over the picture. `actions` are [label, function] pairs, the first one is the main one. `route` (copy or paste) with `hop`
 * draws where the way broke.
 */
export function card({title, text = "", next = "", code = "", art = false, route = null, hop = null, actions = []}) {
  $("card-title").textContent = title;
  $("card-text").textContent = text;
  for (const [id, value] of [["card-next", next], ["card-code", code]]) {
    $(id).textContent = value;
    $(id).hidden = !value;
  }
  $("card-art").hidden = !art;
  drawHops(route, hop);
  $("card-actions").replaceChildren(...actions.map(([label, action], index) => {
    const button = document.createElement("button");
    button.textContent = label;
    button.classList.toggle("primary", index === 0);
    button.addEventListener("click", () => { uncard(); action(); });
    return button;
  }));
  toast("");
  document.body.classList.add("carded");
  $("controls").inert = $("stage").inert = true;
  $("controls").hidden = true;
  $("card").hidden = false;
  $("card").focus({preventScroll: true});
}

export function uncard() {
  $("card").hidden = true;
  document.body.classList.remove("carded");
  $("controls").inert = $("stage").inert = false;
  $("controls").hidden = document.body.dataset.state === "boot";
}

function drawHops(route, hop) {
  const hops = HOPS[route] ?? [];
  const broken = hops.findIndex(([name]) => name === hop);
  $("card-hops").hidden = broken < 0;
  $("card-hops").replaceChildren(...(broken < 0 ? [] : hops.map(([icon, label], index) => {
    const item = document.createElement("li");
    item.innerHTML = `<svg><use href="#i-${icon}"/></svg>`;
    item.append(label);
    item.className = index === broken ? "failed" : index > broken ? "after" : "";
    return item;
  })));
}

let toastTimer;

export function toast(text, {action = null, label = "", ms = 6000} = {}) {
  clearTimeout(toastTimer);
  $("toast").hidden = !text;
  $("toast-text").textContent = text;
  $("toast-action").hidden = !action;
  $("toast-action").textContent = label;
  $("toast-action").onclick = action && (() => { toast(""); action(); });
  if (!text) return;
  say(text);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, ms);
}
