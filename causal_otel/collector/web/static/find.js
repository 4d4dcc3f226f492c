// Find in the trace. The server looks, as it does without JavaScript, for it has the attributes.

import { mark, waterfall } from "./rows.js";
import { remember } from "./state.js";
import { stopsOf } from "./stops.js";

const DELAY = 150; // milliseconds without a key after which it is looked for

let form = null;
let field = null;
let count = null;
let steps = null;
let hits = stopsOf({ count: 0, stops: [] });
let looking = null;
let timer = 0;

/** Look at the page as it is now. */
export function loadFind() {
  form = document.getElementById("find");
  field = form.elements.find;
  count = document.getElementById("find-count");
  steps = document.getElementById("find-steps");
  show(JSON.parse(document.getElementById("hits").textContent));
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(look, DELAY);
  });
  // Enter goes from hit to hit and leaves the field to be typed in.
  form.addEventListener("submit", (event) => event.preventDefault());
  field.addEventListener("keydown", async (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (new URL(location.href).searchParams.get("find") !== (field.value.trim() || null)) await look();
    goToHit(event.shiftKey ? -1 : 1, { focus: false });
  });
  for (const [id, step] of [["find-next", 1], ["find-previous", -1]]) {
    document.getElementById(id).addEventListener("click", (event) => {
      event.preventDefault();
      goToHit(step);
    });
  }
}

async function look() {
  clearTimeout(timer);
  looking?.abort();
  const text = field.value.trim();
  remember("find", text);
  if (!text) {
    show({ count: 0, stops: [] });
    return;
  }
  looking = new AbortController();
  try {
    const asked = new URLSearchParams(location.search);
    asked.set("text", text);
    const address = `${waterfall.dataset.trace}/find?${asked}`;
    const answer = await fetch(address, { signal: looking.signal });
    if (!answer.ok) throw new Error(`the collector said ${answer.status}`);
    show(await answer.json());
  } catch (problem) {
    if (problem.name !== "AbortError") count.textContent = `not found out: ${problem.message}`;
  }
}

function show(found) {
  hits = stopsOf(found);
  mark("hit", hits.rows());
  tell();
}

/** Say how many were found, and which of them is current. */
export function tell() {
  const at = hits.number();
  steps.hidden = !hits.count;
  if (!field.value.trim()) count.textContent = "";
  else if (!hits.count) count.textContent = "none";
  else count.textContent = at ? `${at} of ${hits.count}` : `${hits.count} found`;
}

export async function goToHit(step, { focus = true } = {}) {
  if (await hits.go(step, { focus })) tell();
}
