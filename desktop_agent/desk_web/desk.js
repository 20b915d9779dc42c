/** The computer's own window: the code to scan, the phones, the segmentation servers that were found. */

const LOOK_MS = 1500;
const $ = (id) => document.getElementById(id);
let shown = "", known = null;

async function ask(path, body) {
  const options = body === undefined ? {} : {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const response = await fetch(path, {cache: "no-store", ...options});
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.errors?.[0]?.detail ?? "The agent does not answer.");
  return answer;
}

function show({name, invitation, devices, last_code, servers}) {
  const joined = known !== null && devices.some(({id, paired}) => known.get(id) !== paired);
  known = new Map(devices.map(({id, paired}) => [id, paired]));
  $("title").textContent = invitation ? `Connect a phone to ${name}` : devices.length ? `${name} is connected` : "No phone is connected";
  if (joined && last_code) $("note").textContent = `A phone has just connected. It shows the number ${last_code}; if it does not, remove it below.`;
  else if (!joined && invitation) $("note").textContent = "";
  else if (!joined && $("note").textContent === "One moment…") $("note").textContent = "";
  $("invitation").hidden = !invitation;
  $("again").hidden = Boolean(invitation);
  $("again").textContent = devices.length ? "Connect another phone" : "Show a code";
  if (invitation) {
    if (shown !== invitation.url) {
      $("qr").innerHTML = invitation.svg;
      shown = invitation.url;
    }
    $("code").textContent = invitation.code;
    $("left").textContent = `Valid for ${Math.floor(invitation.seconds / 60)}:${String(invitation.seconds % 60).padStart(2, "0")}`;
  }
  $("paired").hidden = !devices.length;
  list($("devices"), devices.map((device) => [device.name, "Remove", () => ask("/desk/revoke", {device: device.id})]));
  $("servers").hidden = !servers;
  if (servers) {
    $("server-now").textContent = servers.notice ?? servers.name;
    list($("found"), [
      ...servers.found.map((server) => [`${server.name} (${server.url}), certificate ${server.fingerprint.slice(0, 16)}…`, server.confirmed ? "Stop using it" : "Use it for my photos", () => ask("/desk/server", {confirm: server.confirmed ? null : server.id})]),
    ]);
  }
}

function list(element, rows) {
  const text = JSON.stringify(rows.map(([label, action]) => [label, action]));
  if (element.dataset.rows === text) return;
  element.dataset.rows = text;
  element.replaceChildren(...rows.map(([label, action, run]) => {
    const item = document.createElement("li"), name = document.createElement("span"), button = document.createElement("button");
    name.textContent = label;
    button.textContent = action;
    button.setAttribute("aria-label", `${action}: ${label}`);
    button.addEventListener("click", () => run().then(look, complain));
    item.append(name, button);
    return item;
  }));
}

function complain(error) { $("note").textContent = error.message; }

async function look() {
  try {
    show(await ask("/desk/state"));
  } catch (error) {
    $("invitation").hidden = true;
    complain(error instanceof TypeError ? new Error("The agent has stopped.") : error);
  }
}

$("again").addEventListener("click", () => ask("/desk/invite", {}).then(look, complain));
$("copy").addEventListener("click", () => navigator.clipboard.writeText(shown));
const ticket = location.hash.slice(1);
if (ticket) {
  history.replaceState(null, "", location.pathname);
  await ask("/desk/enter", {ticket}).catch(complain);
}
await look();
setInterval(() => document.hidden || look(), LOOK_MS);
