/** Getting in: the one-time token that the scanned address carries, the code that both screens show, and forgetting. */

import * as agent from "/web/agent.js";
import {askForTurning} from "/web/copy.js";
import {start} from "/web/main.js";
import {camera} from "/web/session.js";
import * as show from "/web/show.js";
import * as tray from "/web/tray.js";

const TRUSTED_NAME_MS = 1500;

/** The one-time token of the address that was scanned; it leaves the address bar at once. */
export function scanned() {
  const token = decodeURIComponent(location.hash.slice(1)).split(".")[0];
  return token || null;
}

/** With an installed authority the computer's name works too, and it stays the same in every network: go there first. */
export async function preferName(local) {
  if (!local || location.protocol !== "https:" || location.origin === local) return;
  try {
    await fetch(`${local}/hello`, {mode: "no-cors", signal: AbortSignal.timeout(TRUSTED_NAME_MS)});
    location.replace(`${local}/${location.hash}`);
    await new Promise(() => {});
  } catch {
    // the name is not known in this network, or its certificate is not trusted: stay at the address
  }
}

export async function pair(token) {
  show.pill("");
  let answer;
  try {
    answer = await agent.pair(token, await deviceName());
  } catch (failure) {
    return show.card({
      title: failure.hop === "agent" ? failure.title : "This code does not work",
      text: failure.message,
      next: failure.next,
      actions: [["Try again", () => failure.hop === "agent" ? pair(token) : location.reload()]],
    });
  }
  history.replaceState(null, "", location.pathname);
  agent.agent.name = answer.computer;
  show.buzz(20);
  show.card({
    title: `Connected to ${answer.computer}`,
    code: answer.code,
    text: "Your computer shows the same number now.",
    art: true,
    actions: [["Open the camera", () => { askForTurning(); start(); }], ["It shows another number", forget]],
  });
}

/** Not paired: what to do. */
export function askToScan() {
  show.state("boot");
  show.card({
    title: "Scan the code on your computer",
    text: "Start the agent there. It shows a code: scan it with this phone's camera, and this page opens connected.",
    art: true,
    actions: [["Try again", () => location.reload()]],
  });
}

/** The computer does not know this phone any more. */
export function forgotten(failure) {
  show.state("boot");
  show.ring(null);
  camera.close();
  show.card({
    title: "This phone is no longer connected",
    text: failure.message,
    next: "Show a new code on the computer and scan it. Your cut-outs on this phone are kept until then.",
    art: true,
    actions: [["Try again", () => location.reload()]],
  });
}

/** Forgetting deletes what the person may want to keep: ask. */
export function askToForget() {
  show.card({
    title: `Forget ${agent.agent.name}?`,
    text: "The recent cut-outs are deleted here and on the computer. To connect again, scan a new code.",
    actions: [["Keep it", () => {}], ["Forget it", forget]],
  });
}

export async function forget() {
  try {
    await agent.unpair();
  } catch (failure) {
    return show.toast(failure.message);
  }
  await tray.clear();
  camera.close();
  askToScan();
}

async function deviceName() {
  const wanted = await navigator.userAgentData?.getHighEntropyValues?.(["model"]).catch(() => null);
  const text = navigator.userAgent;
  const system = wanted?.model || (/iPhone|iPad/.exec(text)?.[0] ?? (/Android/.test(text) ? "Android phone" : "Browser"));
  const browser = /Edg/.test(text) ? "Edge" : /Firefox|FxiOS/.test(text) ? "Firefox" : /Chrome|CriOS/.test(text) ? "Chrome" : "Safari";
  return `${system}, ${browser}`;
}
