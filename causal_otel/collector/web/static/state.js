// What the page shows is in its address: every change replaces a parameter of it, so that a copied link shows the same.
//
// A link to another state of the page was written by the server for the state that it knew. What has changed here since
// is not in it, and is added.

import { addressChanged, showInPlace } from "./in_place.js";

let url = new URL(location.href);
let known = new URL(location.href);

/** Look at the address as it is now, for which the page was made. */
export function loadState() {
  url = new URL(location.href);
  known = new URL(location.href);
}

/** The ids in a parameter that lists them. */
export function ids(name) {
  return (url.searchParams.get(name) ?? "").split(",").filter(Boolean);
}

function change(address, name, value) {
  if (value) address.searchParams.set(name, value);
  else address.searchParams.delete(name);
  // Commas stay readable; URLSearchParams would escape them.
  address.search = address.search.replaceAll("%2C", ",");
}

/** Set a parameter, or drop it if there is nothing to say. */
export function remember(name, value) {
  change(url, name, value);
  url.hash = "";
  history.replaceState(null, "", url);
  addressChanged();
}

/** Go to the page with that parameter, beside all that has changed since this one was made. */
export async function visit(name, value) {
  change(url, name, value);
  url.hash = name === "span" ? `s-${value.split(",").at(-1)}` : "";
  await showInPlace(url);
}

/** Go to the page with these parameters; those without a value are dropped. */
export async function visitAll(values) {
  for (const [name, value] of Object.entries(values)) change(url, name, value);
  url.hash = "";
  await showInPlace(url);
}

/** The address that a link leads to, with what has changed since the page was made and the link leaves as it was. */
export function merged(href) {
  const address = new URL(href, location.href);
  if (address.pathname !== url.pathname) return address;
  for (const name of ["span", "collapsed", "critical", "find"]) {
    if (address.searchParams.get(name) === known.searchParams.get(name)) change(address, name, url.searchParams.get(name));
  }
  return address;
}

/** Have a message read out. */
export function announce(message) {
  document.getElementById("announce").textContent = message;
}
