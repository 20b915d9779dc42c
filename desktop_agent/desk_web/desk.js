/** The computer's own window: the question before a paste, the code to scan, the phones, the segmentation servers that were found. */

const LOOK_MS = 1000;
const OTHERS = {"this-computer": "This computer"};
const $ = (id) => document.getElementById(id);
let shown = "", known = null;

async function ask(path, body) {
  const options = body === undefined ? {} : {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)};
  const response = await fetch(path, {cache: "no-store", ...options});
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.errors?.[0]?.detail ?? "The agent does not answer.");
  return answer;
}

function show({name, invitation, devices, last_code, servers, pastes}) {
  showPastes(pastes, new Map(devices.map((device) => [device.id, device.name])));
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
  list($("devices"), devices.map((device) => [device.name, "Remove", () => removed(device)]));
  $("servers").hidden = !servers;
  if (servers) {
    $("server-now").textContent = servers.notice ?? servers.name;
    list($("found"), [
      ...servers.found.map((server) => [`${server.name} (${server.url}), certificate ${server.fingerprint.slice(0, 16)}…`, server.confirmed ? "Stop using it" : "Use it for my photos", () => ask("/desk/server", {confirm: server.confirmed ? null : server.id})]),
    ]);
  }
}

async function removed({id, name}) {
  if (confirm(`Remove ${name}? The cut-outs that it keeps on this computer are deleted with it.`)) await ask("/desk/revoke", {device: id});
}

function showPastes(pastes, names) {
  $("pastes").hidden = !pastes;
  if (!pastes) return;
  const who = (device) => names.get(device) ?? OTHERS[device] ?? (device.startsWith("legacy-") ? "The old app" : "A phone that was removed");
  $("ask-first").checked = pastes.ask_first;
  $("questions").hidden = !pastes.questions.length;
  document.title = pastes.questions.length ? "Allow the paste?" : "Connect a phone";
  const ids = pastes.questions.map(({id}) => id).join();
  if ($("questions").dataset.ids !== ids) {
    $("questions").dataset.ids = ids;
    $("questions").replaceChildren(...pastes.questions.map((question) => asked(question, who(question.device))));
  }
  $("done").replaceChildren(...pastes.pastes.map(({device, application, time}) => {
    const item = document.createElement("li");
    item.textContent = `${new Date(time * 1000).toLocaleTimeString([], {timeStyle: "short"})}: ${who(device)} into ${application}`;
    return item;
  }));
}

function asked({id, application}, who) {
  const item = document.createElement("li"), image = document.createElement("img"), text = document.createElement("p"), answers = document.createElement("div");
  image.src = `/desk/question/${id}.png`;
  image.alt = "The cut-out";
  text.textContent = `${who} wants to paste this into ${application || "what it points at"}.`;
  answers.className = "answers";
  answers.append(...[["Allow", true], ["Do not allow", false]].map(([label, yes]) => {
    const button = document.createElement("button");
    button.textContent = label;
    button.classList.toggle("primary", yes);
    button.addEventListener("click", () => ask("/desk/answer", {question: id, yes}).then(look, complain));
    return button;
  }));
  item.append(image, text, answers);
  return item;
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
$("ask-first").addEventListener("change", () => ask("/desk/ask", {first: $("ask-first").checked}).then(look, complain));
$("copy").addEventListener("click", () => navigator.clipboard.writeText(shown));
const ticket = location.hash.slice(1);
if (ticket) {
  history.replaceState(null, "", location.pathname);
  await ask("/desk/enter", {ticket}).catch(complain);
}
await look();
setInterval(look, LOOK_MS);  // hidden too: the title then tells of a question
