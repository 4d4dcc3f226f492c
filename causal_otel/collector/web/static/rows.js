// The waterfall's rows in tree order, which is current, and moving between them.
//
// Of a long trace, most rows come as the text of <noscript> elements: a browser reads that hundred times as fast as
// elements. A chunk of them becomes elements when it comes near the view, or when one of its rows is needed.

export const waterfall = document.getElementById("waterfall");

/** Every row's span id (a gap's is empty), level from 1, and how many rows collapsing it hides: 0 it cannot, -1 not here. */
const spans = JSON.parse(document.getElementById("spans").textContent);
export const length = spans.length;

const CHUNK = Number(waterfall.dataset.chunk);
const chunks = [...waterfall.querySelectorAll(".chunk")];
const elements = new Array(length);
const placesOfElements = new WeakMap();
const marks = { hit: new Set(), open: new Set() };
const hidden = new Uint8Array(length);
let collapsed = new Set();
let current = -1;

const places = new Map();
for (let place = length - 1; place >= 0; place -= 1) if (!isGap(place)) places.set(spans[place][0], place);

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
  return spans[place][0] === "";
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
  materialise(Math.floor(place / CHUNK));
  return elements[place];
}

function link(place) {
  return row(place).querySelector(".op");
}

function materialise(number) {
  const chunk = chunks[number];
  const first = number * CHUNK;
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
    for (const stop of element.querySelectorAll(".op, .fold")) stop.tabIndex = -1;
  });
}

/** Have an element show what is known of its row. */
function dress(place) {
  const element = elements[place];
  element.hidden = isHidden(place);
  if (isParent(place)) element.ariaExpanded = String(!collapsed.has(spanId(place)));
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
    if (place % CHUNK === CHUNK - 1 || place === length - 1) {
      const number = Math.floor(place / CHUNK);
      chunks[number].hidden = shown === 0;
      // Rows that are not elements yet take the place that they will.
      if (!elements[number * CHUNK]) chunks[number].style.height = `calc(var(--row) * ${shown})`;
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
    link(current).tabIndex = -1;
  }
  current = place;
  row(place).classList.add("current");
  link(place).tabIndex = 0;
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

const observer = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) materialise(chunks.indexOf(entry.target));
  },
  { rootMargin: "1000px" },
);
chunks.forEach((chunk, number) => {
  if (chunk.querySelector(":scope > noscript")) observer.observe(chunk);
  else materialise(number);
});
