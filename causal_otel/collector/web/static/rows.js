// The waterfall's rows in tree order, which is current, and moving between them.
//
// Of a long trace, most rows come as the text of <noscript> elements: a browser reads that hundred times as fast as
// elements. A chunk of them becomes elements when it comes near the view, or when one of its rows is needed.

/** The waterfall; null on a page that shows another view of the trace. */
export let waterfall = null;

/** Every row's span id, level from 1, and how many rows collapsing it hides: 0 it cannot, -1 not here.
 *
 * The id of a run of equal spans is that of its first behind "r-". Gaps and the ways to other members have none. */
let spans = [];
export let length = 0;

let chunkSize = 1;
let chunks = [];
let elements = [];
let placesOfElements = new WeakMap();
let marks = {};
let hidden = new Uint8Array(0);
let collapsed = new Set();
let current = -1;
let places = new Map();
let observer = null;

/** Look at the page as it is now. */
export function loadRows() {
  observer?.disconnect();
  waterfall = document.getElementById("waterfall");
  spans = waterfall ? JSON.parse(document.getElementById("spans").textContent) : [];
  length = spans.length;
  chunkSize = Number(waterfall?.dataset.chunk ?? 1);
  chunks = [...(waterfall?.querySelectorAll(".chunk") ?? [])];
  elements = new Array(length);
  placesOfElements = new WeakMap();
  marks = { hit: new Set(), open: new Set() };
  hidden = new Uint8Array(length);
  collapsed = new Set();
  current = -1;
  places = new Map();
  for (let place = length - 1; place >= 0; place -= 1) if (spanId(place)) places.set(spanId(place), place);
  observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) if (entry.isIntersecting) materialise(chunks.indexOf(entry.target));
    },
    { rootMargin: "1000px" },
  );
  chunks.forEach((chunk, number) => {
    if (chunk.querySelector(":scope > noscript")) observer.observe(chunk);
    else materialise(number);
  });
}

export function spanId(place) {
  return spans[place][0];
}

export function level(place) {
  return spans[place][1];
}

export function isParent(place) {
  return spans[place][2] !== 0;
}

/** Whether the row shows a gap in the time of the span above it, and no span. */
export function isGap(place) {
  return spans[place][0] === "" && row(place).matches(".gap");
}

/** Whether the row stands for several spans, or leads to them: it has a link to a page that shows them. */
export function isRun(place) {
  return spans[place][0] === "" ? row(place).matches(".more") : spans[place][0].startsWith("r-");
}

/** Whether the row is one of a run that is open. */
export function isExpanded(place) {
  return row(place).getAttribute("aria-expanded") === "true";
}

export function isHidden(place) {
  return hidden[place] === 1;
}

/** The row's place, by its span's id; undefined if there is none. */
export function placeOf(id) {
  return places.get(id);
}

/** The place of the row that an element is in, or of the row that the element's details belong to. */
export function placeAround(element) {
  const inside = element.closest(".row, .details");
  const row = inside?.matches(".details") ? inside.previousElementSibling : inside;
  return row ? placesOfElements.get(row) : undefined;
}

export function parentOf(place) {
  let above = place - 1;
  while (above >= 0 && level(above) >= level(place)) above -= 1;
  return above;
}

/** The row's element, which it becomes if it is none yet. */
export function row(place) {
  materialise(Math.floor(place / chunkSize));
  return elements[place];
}

/** Have every row be an element, as for printing. */
export function materialiseAll() {
  chunks.forEach((_, number) => materialise(number));
}

function link(place) {
  return row(place).querySelector(".op");
}

function materialise(number) {
  const chunk = chunks[number];
  const first = number * chunkSize;
  if (elements[first]) return;
  const waiting = chunk.querySelector(":scope > noscript");
  if (waiting) {
    chunk.innerHTML = waiting.textContent; // escaped by the server, as all of the page is
    chunk.style.height = "";
    observer.unobserve(chunk);
  }
  chunk.querySelectorAll(":scope > .row").forEach((element, index) => {
    elements[first + index] = element;
    placesOfElements.set(element, first + index);
    dress(first + index);
    for (const stop of element.querySelectorAll("a, .fold")) stop.tabIndex = -1;
  });
}

/** Have an element show what is known of its row. */
function dress(place) {
  const element = elements[place];
  element.hidden = isHidden(place);
  if (isParent(place) && spanId(place)) element.ariaExpanded = String(!collapsed.has(spanId(place)));
  for (const [mark, marked] of Object.entries(marks)) element.classList.toggle(mark, marked.has(place));
}

/** Give exactly these places a mark: hit or open. */
export function mark(kind, wanted) {
  const before = marks[kind];
  marks[kind] = new Set(wanted);
  for (const place of [...before, ...marks[kind]]) if (elements[place]) dress(place);
}

/** Hide what is below the spans with these ids, and nothing else. */
export function hideBelow(ids) {
  collapsed = ids;
  let until = 0;
  let shown = 0;
  for (let place = 0; place < length; place += 1) {
    hidden[place] = place < until ? 1 : 0;
    if (place >= until && collapsed.has(spanId(place))) until = place + 1 + Math.max(0, spans[place][2]);
    shown += 1 - hidden[place];
    if (elements[place]) dress(place);
    if (place % chunkSize === chunkSize - 1 || place === length - 1) {
      const number = Math.floor(place / chunkSize);
      chunks[number].hidden = shown === 0;
      // Rows that are not elements yet take the place that they will.
      if (!elements[number * chunkSize]) chunks[number].style.height = `calc(var(--row) * ${shown})`;
      shown = 0;
    }
  }
}

export function currentPlace() {
  return current;
}

/** Make the row at `place` the one that keys act on. One row only is in the tabulator's order. */
export function setCurrent(place, { focus = true } = {}) {
  if (current >= 0) {
    row(current).classList.remove("current");
    for (const stop of row(current).querySelectorAll("a")) stop.tabIndex = -1;
  }
  current = place;
  row(place).classList.add("current");
  for (const stop of row(place).querySelectorAll("a:not(.fold)")) stop.tabIndex = 0;
  if (focus) {
    link(place).focus({ preventScroll: true });
    row(place).scrollIntoView({ block: "nearest" });
  }
}

/** Move to the next row that is shown, `step` being 1 or -1. */
export function move(step) {
  let place = current + step;
  while (place >= 0 && place < length && isHidden(place)) place += step;
  if (place >= 0 && place < length) setCurrent(place);
}

/** The first place from the current one in the direction of `step` that is among `wanted` (sorted), going round. */
export function nextAmong(wanted, step) {
  if (step > 0) return wanted.find((place) => place > current) ?? wanted[0];
  return wanted.findLast((place) => place < current) ?? wanted.at(-1);
}
