// The live tail: rows come from the server as HTML of the page's own template, the newest goes on top.

import { bind } from "./keys.js";
import { freshAges, localTimes } from "./times.js";
import { walk } from "./walk.js";

const list = document.getElementById("traces");
const state = document.getElementById("state");
const pause = document.getElementById("pause");
const shown = Number(list.dataset.shown);

/** Rows that wait while the list is paused, by id, the newest last. @type {Map<string, Element>} */
const waiting = new Map();
/** Traces that came when there were too many to show. */
let more = 0;
let paused = new URLSearchParams(location.search).has("paused");

function put(row) {
  const old = document.getElementById(row.id);
  const focused = old?.contains(document.activeElement);
  if (!old) row.classList.add("new");
  old?.remove();
  list.prepend(row);
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

function tell() {
  const connected = stream.readyState === EventSource.OPEN;
  state.className = `muted ${connected && !paused ? "on" : "off"}`;
  if (paused) state.textContent = `paused${waiting.size ? `, ${waiting.size} new` : ""}`;
  else state.textContent = connected ? "receiving" : "the collector does not answer; trying again";
  if (more) state.textContent += `; ${more} more came too quickly to be shown`;
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

const stream = new EventSource(list.dataset.stream);
stream.addEventListener("open", tell);
stream.addEventListener("error", tell);
stream.addEventListener("message", take);
stream.addEventListener("more", ({ data }) => {
  more += Number(data);
  tell();
});

const form = document.getElementById("choose");
form.addEventListener("change", () => form.requestSubmit());
form.addEventListener("formdata", ({ formData }) => {
  if (!formData.get("service")) formData.delete("service");
  if (paused) formData.set("paused", "1");
});
document.getElementById("apply").hidden = true;
pause.hidden = false;
pause.addEventListener("click", toggle);
bind("p", "Pause or resume", toggle);
walk(list);
setInterval(() => freshAges(list), 5000);
