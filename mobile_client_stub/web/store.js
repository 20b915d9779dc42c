/** Cut-outs and the model kept on the phone (IndexedDB), so that a reload or a lost network loses none. Without it memory has to do. */

const opened = new Promise((resolve) => {
  let request;
  try {
    request = indexedDB.open("ar-copy-paste", 2);
  } catch {
    return resolve(null);
  }
  request.onupgradeneeded = () => {
    const there = request.result.objectStoreNames;
    if (!there.contains("clips")) request.result.createObjectStore("clips", {keyPath: "clip"});
    if (!there.contains("files")) request.result.createObjectStore("files");
  };
  request.onsuccess = () => {
    request.result.onversionchange = () => request.result.close();  // another tab has a newer page
    resolve(request.result);
  };
  request.onerror = request.onblocked = () => resolve(null);
});
const memory = new Map();

/** A clip is the agent's description of it with its PNG as `blob`. */
export async function keep(clip) {
  memory.set(clip.clip, clip);
  await transaction("readwrite", (clips) => clips.put(clip));
}

export async function forget(id) {
  memory.delete(id);
  await transaction("readwrite", (clips) => clips.delete(id));
}

export async function forgetAll() {
  memory.clear();
  await transaction("readwrite", (clips) => clips.clear());
}

/** Newest first. */
export async function kept() {
  for (const clip of await transaction("readonly", (clips) => clips.getAll()) ?? []) memory.set(clip.clip, clip);
  return [...memory.values()].sort((a, b) => b.created - a.created);
}

/** A file by its name or hash; null where it is not kept. */
export async function keptFile(name) {
  return await transaction("readonly", (files) => files.get(name), "files") ?? null;
}

export async function keepFile(name, content) {
  await transaction("readwrite", (files) => files.put(content, name), "files");
}

async function transaction(mode, work, name = "clips") {
  const database = await opened;
  if (!database) return null;
  return new Promise((resolve) => {
    try {
      const request = work(database.transaction(name, mode).objectStore(name));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}
