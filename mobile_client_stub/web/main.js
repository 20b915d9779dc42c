/** The page's start, and which control does what. */

import * as agent from "/web/agent.js";
import {Camera} from "/web/camera.js";
import {cutAt, home, shoot, useFile} from "/web/copy.js";
import * as ondevice from "/web/ondevice.js";
import {askToForget, askToScan, pair, preferName, scanned} from "/web/pairing.js";
import {camera, floating, session} from "/web/session.js";
import {$} from "/web/show.js";
import * as show from "/web/show.js";
import * as tray from "/web/tray.js";

async function boot() {
  show.state("boot");
  let known;
  try {
    known = await agent.hello();
  } catch (failure) {
    return show.card({title: failure.title, text: failure.message, next: failure.next, route: "copy", hop: "agent", actions: [["Try again", boot]]});
  }
  if (known.paired) Object.assign(agent.agent, {name: known.name, undo: known.undo});
  await preferName(known.local);
  const token = scanned();
  if (token && !known.paired) return pair(token);
  if (token) history.replaceState(null, "", location.pathname);
  if (!known.paired) return askToScan();
  await start();
  tray.synchronise();
  if (ondevice.isOn()) ondevice.prepare().catch(() => {});  // the first cut says it again
}

/** Paired: open the camera, or explain how it goes without. */
export async function start() {
  if (!Camera.possible) return withFiles("");
  show.pill("Opening the camera…", "busy");
  try {
    await camera.open();
  } catch (error) {
    return noCamera(error);
  }
  session.file = false;
  home();
}

function noCamera(error) {
  show.pill("");
  const denied = error.name === "NotAllowedError";
  show.card({
    title: denied ? "The camera is blocked" : "The camera does not open",
    text: denied
      ? "Allow it in the browser: tap the symbol beside the address, then Permissions, Camera."
      : `Another app may be using it (${error.name}). Close that app.`,
    next: "Or go on with single photos, everything else stays the same.",
    actions: [["Use photos instead", () => withFiles("")], ["Try the camera again", start]],
  });
}

function withFiles() {
  session.file = true;
  home();
}

function pickFrom(input, use) {
  input.value = "";
  input.onchange = () => input.files[0] && use(input.files[0]);
  input.click();
}

const asView = (file) => session.step?.view?.(file);

async function opened() {
  show.absent("torch", !camera.hasLight);
  show.absent("switch", await camera.count() < 2);
  $("torch").setAttribute("aria-pressed", "false");
  if (session.step) show.state(session.step.name, session.file);
}

/** "Cut on this phone" is offered where the computer has what it needs; else the reason stands there. */
async function offerOndevice() {
  let reason;
  try {
    reason = ondevice.isOn() ? null : await ondevice.whyNot();
  } catch {
    reason = "the computer is not reached now.";
  }
  $("ondevice").hidden = Boolean(reason);
  $("ondevice-not").hidden = !reason;
  $("ondevice-not").textContent = reason ? `Cutting on this phone: ${reason}` : "";
  $("ondevice-on").checked = ondevice.isOn();
}

async function chooseOndevice() {
  const wanted = $("ondevice-on").checked, note = $("ondevice-note");
  $("ondevice-on").disabled = true;
  note.textContent = wanted ? "Getting the model…" : "";
  try {
    await ondevice.choose(wanted, (share) => { note.textContent = `Getting the model: ${Math.round(share * 100)} %`; });
    note.textContent = wanted ? "Ready: photos stay on this phone." : "Without the computer's help. It takes a download once.";
  } catch (failure) {
    $("ondevice-on").checked = false;
    note.textContent = failure.message;
  }
  $("ondevice-on").disabled = false;
  await tellFacts();
}

function settings() {
  $("settings").showModal();
  offerOndevice();
  tellFacts();
}

async function tellFacts() {
  const facts = [["Computer", agent.agent.name]];
  try {
    const status = await agent.status();
    facts[0][1] = status.name;
    facts.push(["Cut-outs made by", ondevice.isOn() ? "this phone" : status.server === "embedded" ? "the computer itself" : status.server], ["Version", status.version]);
    if (status.notice) facts.push(["Note", status.notice]);
  } catch (failure) {
    facts.push(["Connection", failure.message]);
  }
  $("facts").replaceChildren(...facts.flatMap(([name, value]) => {
    const term = document.createElement("dt"), description = document.createElement("dd");
    [term.textContent, description.textContent] = [name, value];
    return [term, description];
  }));
}

const clicks = {
  "back": () => session.step?.back?.(),
  "menu": settings,
  "shutter": () => shoot(null),
  "cut-main": () => cutAt(null),
  "use": () => session.step?.use?.(),
  "cancel": () => session.step?.back?.(),
  "paste": () => session.step?.paste?.(),
  "reset": () => floating.reset(),
  "switch": () => camera.other().catch(noCamera),
  "take-object": () => pickFrom($("file-capture"), useFile),
  "pick-photo": () => pickFrom($("file-pick"), useFile),
  "take-screen": () => pickFrom($("file-capture"), asView),
  "retake": () => pickFrom($("file-capture"), asView),
  "unpair": () => { $("settings").close(); askToForget(); },
};

for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
$("ondevice-on").addEventListener("change", chooseOndevice);
$("torch").addEventListener("click", () => {
  const on = $("torch").getAttribute("aria-pressed") !== "true";
  $("torch").setAttribute("aria-pressed", String(on));
  camera.light(on);
});
for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}
floating.addEventListener("tapped", ({detail}) => session.step?.tapped?.(detail));
camera.addEventListener("opened", opened);
camera.addEventListener("lost", ({detail}) => noCamera(detail));
addEventListener("resize", () => session.step?.name === "floating" && floating.at && floating.place(floating.at));
if (location.protocol === "https:") navigator.serviceWorker?.register("/sw.js").catch(() => {});  // refused without a trusted certificate
tray.listen();
boot();
