// What the page shows is in its address: every change replaces a parameter of it, so that a copied link shows the same.

const url = new URL(location.href);

/** The ids in a parameter that lists them. */
export function ids(name) {
  return (url.searchParams.get(name) ?? "").split(",").filter(Boolean);
}

function change(name, value) {
  if (value) url.searchParams.set(name, value);
  else url.searchParams.delete(name);
  // Commas stay readable; URLSearchParams would escape them.
  url.search = url.search.replaceAll("%2C", ",");
  url.hash = "";
}

/** Set a parameter, or drop it if there is nothing to say. */
export function remember(name, value) {
  change(name, value);
  history.replaceState(null, "", url);
}

/** Go to the page with that parameter, beside all that has changed since this one was made. */
export function visit(name, value) {
  change(name, value);
  location.assign(url);
}

/** Have a message read out. */
export function announce(message) {
  document.getElementById("announce").textContent = message;
}
