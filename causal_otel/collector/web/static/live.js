// The live tail: rows come from the server as HTML of the page's own template, the newest or the worst goes on top.

import { bind } from "./keys.js";
import { freshAges, localTimes } from "./times.js";
import { walk } from "./walk.js";

const list = document.getElementById("traces");
const state = document.getElementById("state");
const pause = document.getElementById("pause");
const shown = Number(list.dataset.shown);
const worstFirst = "worst" in list.dataset;

/** How long a trace is among the worst, in milliseconds: what was bad long ago must not hide what is bad now. */
const WORST_FOR = 5 * 60 * 1000;
/** For how long it is told how many more there were. */
const TOLD_FOR = 2500;
const RETRY = 30_000;

/** Rows that wait while the list is paused, by id, the newest last. @type {Map<string, Element>} */
const waiting = new Map();
/** How many more a second there were, and how many a second nobody could look at. */
let more = 0;
let unseen = 0;
let told;
let refused = false;
let stream;
let paused = new URLSearchParams(location.search).has("paused");

/** Whether one row is before another where the worst are first. */
function isWorse(one, other) {
  const failed = (row) => Number(row.dataset.errors) > 0;
  if (failed(one) !== failed(other)) return failed(one);
  return Number(one.dataset.took) >= Number(other.dataset.took);
}

function place(row) {
  const next = worstFirst ? [...list.children].find((each) => isWorse(row, each)) : list.firstElementChild;
  list.insertBefore(row, next ?? null);
}

function put(row) {
  const old = document.getElementById(row.id);
  const focused = old?.contains(document.activeElement);
  if (!old) row.classList.add("new");
  old?.remove();
  row.dataset.came = String(Date.now());
  place(row);
  if (focused) row.querySelector("a").focus({ preventScroll: true });
  while (list.childElementCount > shown) list.lastElementChild.remove();
  list.hidden = false;
  document.getElementById("nothing").hidden = true;
}

function take({ data }) {
  const template = document.createElement("template");
  template.innerHTML = data; // escaped by the server's template, like the page itself
  const row = template.content.firstElementChild;
  localTimes(row);
  if (document.getElementById(row.id)?.dataset.version === row.dataset.version) return;
  if (!paused) {
    put(row);
    return;
  }
  waiting.delete(row.id);
  waiting.set(row.id, row);
  if (waiting.size > shown) waiting.delete(waiting.keys().next().value);
  tell();
}

function takeMore({ data }) {
  [more, unseen] = data.split(" ").map(Number);
  clearTimeout(told);
  told = setTimeout(() => {
    more = unseen = 0;
    tell();
  }, TOLD_FOR);
  tell();
}

function tell() {
  const connected = stream?.readyState === EventSource.OPEN;
  state.className = `muted ${connected && !paused ? "on" : "off"}`;
  if (paused) state.textContent = `paused${waiting.size ? `, ${waiting.size} new` : ""}`;
  else if (connected) state.textContent = "receiving";
  else state.textContent = refused ? "the collector has too many live pages open; trying again" : "the collector does not answer; trying again";
  if (more) state.textContent += `; ${more} more a second`;
  if (unseen) state.textContent += `; ${unseen} a second came too quickly to be looked at`;
  pause.textContent = paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", String(paused));
}

function toggle() {
  paused = !paused;
  const address = new URL(location);
  if (paused) address.searchParams.set("paused", "1");
  else address.searchParams.delete("paused");
  history.replaceState(null, "", address);
  if (!paused) {
    for (const row of waiting.values()) put(row);
    waiting.clear();
  }
  tell();
}

function listen() {
  stream = new EventSource(list.dataset.stream);
  stream.addEventListener("open", () => {
    refused = false;
    tell();
  });
  stream.addEventListener("error", () => {
    // A browser gives up only when the answer is no stream.
    refused = stream.readyState === EventSource.CLOSED;
    if (refused) setTimeout(listen, RETRY);
    tell();
  });
  stream.addEventListener("message", take);
  stream.addEventListener("more", takeMore);
}

const form = document.getElementById("choose");
form.addEventListener("change", ({ target }) => {
  // Whoever types goes on to the next field; Enter and the button are for that.
  if (target.matches("select, [type=checkbox]")) form.requestSubmit();
});
form.addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData]) if (!value) formData.delete(name);
  if (paused) formData.set("paused", "1");
});
document.getElementById("apply").hidden = true;
if (list.dataset.stream) {
  listen();
  pause.hidden = false;
  pause.addEventListener("click", toggle);
  bind("p", toggle);
}
walk(list);
for (const row of list.children) row.dataset.came = String(Date.now());
setInterval(() => {
  freshAges(list);
  if (!worstFirst || paused) return;
  for (const row of [...list.children]) {
    if (Date.now() - Number(row.dataset.came) > WORST_FOR) row.remove();
  }
}, 5000);
