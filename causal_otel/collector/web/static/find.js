// Find in the trace. The server looks, as it does without JavaScript, for it has the attributes.

import { reveal } from "./collapse.js";
import { currentPlace, mark, nextAmong, placeOf, row, setCurrent, waterfall } from "./rows.js";
import { remember } from "./state.js";

const DELAY = 150; // milliseconds without a key after which it is looked for

const form = document.getElementById("find");
const field = form.elements.find;
const count = document.getElementById("find-count");
const steps = document.getElementById("find-steps");
let hits = [];
show(JSON.parse(document.getElementById("hits").textContent));
let looking = null;
let timer = 0;

async function look() {
  clearTimeout(timer);
  looking?.abort();
  const text = field.value.trim();
  remember("find", text);
  if (!text) {
    show([]);
    return;
  }
  looking = new AbortController();
  try {
    const address = `${waterfall.dataset.trace}/find?${new URLSearchParams({ text })}`;
    const answer = await fetch(address, { signal: looking.signal });
    if (!answer.ok) throw new Error(`the collector said ${answer.status}`);
    const { spans } = await answer.json();
    show(spans);
  } catch (problem) {
    if (problem.name !== "AbortError") count.textContent = `not found out: ${problem.message}`;
  }
}

function show(found) {
  hits = found.map(placeOf).filter((place) => place !== undefined).sort((a, b) => a - b);
  mark("hit", hits);
  tell();
}

function tell() {
  const at = hits.indexOf(currentPlace());
  steps.hidden = !hits.length;
  if (!field.value.trim()) count.textContent = "";
  else if (!hits.length) count.textContent = "none";
  else count.textContent = at < 0 ? `${hits.length} found` : `${at + 1} of ${hits.length}`;
}

export function goToHit(step, { focus = true } = {}) {
  const place = nextAmong(hits, step);
  if (place === undefined) return;
  reveal(place);
  setCurrent(place, { focus });
  if (!focus) row(place).scrollIntoView({ block: "nearest" });
  tell();
}

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
