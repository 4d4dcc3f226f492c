// Another state of the page in its place: what stays is not loaded again, and nothing jumps.
//
// Without this, the same links and forms load the same pages.

const HEADER = "X-Causal-Otel-In-Place";
let show = () => {};
let asking = null;
let here = location.pathname + location.search;

/** Have `action` look at each page that is shown. It is given what the address names: the element to be scrolled to. */
export function onShown(action) {
  show = action;
}

/** Take it that the address that is now in the browser's bar is the page's. */
export function addressChanged() {
  here = location.pathname + location.search;
}

/** Show the page of an address in the place of this one. */
export async function showInPlace(address, { remembered = true } = {}) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const main = document.getElementById("main");
  main.ariaBusy = "true";
  try {
    const answer = await fetch(address, { headers: { [HEADER]: "1" }, signal });
    if (!answer.ok) throw new Error(`the collector said ${answer.status}`);
    const text = await answer.text();
    const begin = text.indexOf(">", text.indexOf("<main")) + 1;
    if (remembered) history.pushState(null, "", address);
    addressChanged();
    const focused = document.activeElement?.id;
    // Escaped by the server, as all of the page is, and the page's policy runs nothing inline.
    main.innerHTML = text.slice(begin, text.lastIndexOf("</main>"));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    show(new URL(address, location.href).hash.slice(1));
  } catch (problem) {
    if (problem.name !== "AbortError") location.assign(address);
  } finally {
    if (asking.signal === signal) main.ariaBusy = "false";
  }
}

addEventListener("popstate", () => {
  // A link to another place of the same page needs no other page.
  if (location.pathname + location.search !== here) showInPlace(location.href, { remembered: false });
});
