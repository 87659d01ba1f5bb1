// Keeps the whole site, so that it works without a connection. `derma web` writes what that is,
// and a version that changes with any of it, before these lines: FILES and VERSION.

addEventListener("install", (event) => {
  event.waitUntil(keepAll().then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  event.waitUntil(dropOlder().then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && url.startsWith(registration.scope)) event.respondWith(answer(event.request));
});

async function keepAll() {
  const cache = await caches.open(name());
  // What the page has just loaded is asked for again only by its date.
  await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
}

async function dropOlder() {
  const older = (await caches.keys()).filter((key) => key.startsWith(`${registration.scope} `) && key !== name());
  await Promise.all(older.map((key) => caches.delete(key)));
}

async function answer(request) {
  const kept = await caches.match(request, { cacheName: name(), ignoreSearch: true });
  // Some hosts redirect card.html to card, and no page opens with what a redirect led to.
  return kept?.redirected ? new Response(kept.body, kept) : kept ?? fetch(request);
}

// Of this address, as others of the same host have theirs.
function name() {
  return `${registration.scope} ${VERSION}`;
}
