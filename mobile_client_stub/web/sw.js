/** Opens the page without a connection (only where the certificate is trusted): network first, else what was seen last. */

const PAGE = "page";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const {pathname} = new URL(event.request.url);
  if (event.request.method === "GET" && (pathname === "/" || pathname.startsWith("/web/") || pathname.endsWith(".mjs"))) event.respondWith(answer(event.request));
});

async function answer(request) {
  const pages = await caches.open(PAGE);
  try {
    const response = await fetch(request);
    if (response.ok) await pages.put(request, response.clone());
    return response;
  } catch {
    return await pages.match(request, {ignoreSearch: true}) ?? Response.error();
  }
}
