// A span's details, fetched when they are opened and kept until they are closed.

import { reveal } from "./collapse.js";
import { isGap, isHidden, isRun, length, level, mark, parentOf, placeOf, row, setCurrent, spanId, waterfall } from "./rows.js";
import { announce, ids, remember, visit } from "./state.js";

let open = new Set();

/** Look at the page as it is now. */
export function loadDetails() {
  open = new Set(ids("span").filter((id) => placeOf(id) !== undefined));
  mark("open", [...open].map(placeOf));
}

function changed() {
  mark("open", [...open].map(placeOf));
  remember("span", [...open].join(","));
}

/** Open or close the details of the row's span; of a gap, open those of the span that it is in. */
export async function toggleDetails(place) {
  if (isRun(place)) {
    row(place).querySelector(".op").click();
    return;
  }
  if (isGap(place)) {
    await goTo(spanId(parentOf(place)));
    return;
  }
  const id = spanId(place);
  if (open.has(id)) close(place);
  else await openDetails(place);
}

async function openDetails(place) {
  const id = spanId(place);
  const above = row(place);
  open.add(id);
  changed();
  const panel = document.createElement("div");
  panel.className = "details";
  panel.ariaBusy = "true";
  above.after(panel);
  try {
    const answer = await fetch(`${waterfall.dataset.trace}/span/${id}${location.search}`);
    if (!answer.ok) throw new Error(`the collector said ${answer.status}`);
    const template = document.createElement("template");
    template.innerHTML = await answer.text(); // escaped by the server, and the page's policy runs nothing inline
    const filled = template.content.firstElementChild;
    panel.replaceWith(filled);
    showCopyButtons(filled);
    announce("Details opened");
  } catch (problem) {
    panel.ariaBusy = "false";
    panel.classList.add("failed");
    panel.textContent = `The details could not be fetched: ${problem.message}. Close and open them to try again.`;
  }
}

function close(place) {
  const panel = row(place).nextElementSibling;
  if (panel?.matches(".details")) panel.remove();
  open.delete(spanId(place));
  changed();
}

/** Close the details of spans that are hidden, so that the address does not open them again. */
export function closeHidden() {
  for (const id of [...open]) {
    if (isHidden(placeOf(id))) close(placeOf(id));
  }
}

/** Close the details of spans in the run at `place`, which is about to show others or none. */
export function closeInside(place) {
  for (let below = place + 1; below < length && level(below) > level(place); below += 1) {
    if (open.has(spanId(below))) close(below);
  }
}

/** Go to a span of this trace and open it, in a page of its own if it has no row here. */
export async function goTo(id) {
  const place = placeOf(id);
  if (place === undefined) {
    await visit("span", [...open, id].join(","));
    return;
  }
  reveal(place);
  if (!open.has(id)) await openDetails(place);
  setCurrent(place);
}

export function showCopyButtons(node) {
  for (const button of node.querySelectorAll("button[data-copy]")) button.hidden = false;
}
