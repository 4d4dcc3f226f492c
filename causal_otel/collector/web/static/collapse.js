// Collapsing and expanding what is below a span.

import { currentPlace, hideBelow, isHidden, isParent, length, parentOf, row, setCurrent, spanId, waterfall } from "./rows.js";
import { ids, remember } from "./state.js";

// Of a very large trace the page has only the rows that are shown: the server must be asked for others.
let partial = false;
let parents = [];
let collapsed = new Set();

/** Look at the page as it is now. */
export function loadCollapsed() {
  partial = "partial" in waterfall.dataset;
  parents = [];
  for (let place = 0; place < length; place += 1) if (isParent(place)) parents.push(spanId(place));
  collapsed = read();
  hideBelow(collapsed);
}

function read() {
  const asked = new Set(ids("collapsed"));
  return new Set(parents.filter((id) => (asked.has("all") ? !asked.has(`-${id}`) : asked.has(id))));
}

/** The shortest way to write it: those that are collapsed, or all but those that are not. */
function written() {
  if (2 * collapsed.size <= parents.length) return [...collapsed].join(",");
  return ["all", ...parents.filter((id) => !collapsed.has(id)).map((id) => `-${id}`)].join(",");
}

export function isCollapsed(place) {
  return collapsed.has(spanId(place));
}

export function toggle(place) {
  if (!isParent(place)) return;
  if (partial) {
    ask(row(place).querySelector(".fold"));
    return;
  }
  if (!collapsed.delete(spanId(place))) collapsed.add(spanId(place));
  show();
}

export function collapseAll() {
  if (partial) ask(document.getElementById("collapse-all"));
  else show(new Set(parents));
}

export function expandAll() {
  if (partial) ask(document.getElementById("expand-all"));
  else show(new Set());
}

/** Expand whatever hides the row at `place`. */
export function reveal(place) {
  let changed = false;
  for (let above = parentOf(place); above >= 0; above = parentOf(above)) {
    changed = collapsed.delete(spanId(above)) || changed;
  }
  if (changed) show();
}

function ask(button) {
  button.form.requestSubmit(button);
}

function show(wanted = collapsed) {
  collapsed = wanted;
  hideBelow(collapsed);
  remember("collapsed", written());
  let place = currentPlace();
  if (place < 0 || !isHidden(place)) return;
  while (isHidden(place)) place = parentOf(place);
  setCurrent(place);
}
