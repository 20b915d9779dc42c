// What the page asks of the agent. Every answer that changes the board is the whole board.

const ROOT = "/board/api";

async function ask(method, path, body) {
  const options = { method, cache: "no-store" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  const response = await fetch(ROOT + path, options);
  const answer = await response.json().catch(() => null);
  if (!response.ok || !answer) {
    throw new Error(answer?.errors?.[0]?.detail ?? `The agent answered ${response.status}. Reload the page.`);
  }
  return answer;
}

export const changes = (page, since) => ask("GET", `/changes?page=${page}&since=${since}`);
export const painted = (report) => ask("POST", "/painted", report);
export const change = (id, pose) => ask("PATCH", `/items/${id}`, pose);
export const remove = (id) => ask("DELETE", `/items/${id}`);
export const duplicate = (id) => ask("POST", `/items/${id}/duplicate`, {});
export const restack = (id, to) => ask("POST", `/items/${id}/restack`, { to });
export const undo = () => ask("POST", "/undo", {});
export const redo = () => ask("POST", "/redo", {});

/** Told on the way out, when an ordinary request would be dropped. */
export function leave(page) {
  navigator.sendBeacon(`${ROOT}/leave`, new Blob([JSON.stringify({ page })], { type: "application/json" }));
}
