// The heat map: a box is dragged over it, or chosen with the arrow keys, and the search is narrowed down to it.

import { tell } from "./keys.js";

const HINT = "Drag a box to search in it, or choose one with the arrow keys and Shift";

const figure = document.getElementById("heat");
const svg = figure?.querySelector(":scope > svg");

if (svg) {
  const places = JSON.parse(figure.dataset.places);
  const says = figure.querySelector(".says");
  const columns = places.start.length;
  const rows = places.shortest.length;
  const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  box.classList.add("box");
  let anchor = null; // where the box was begun, a column and a row
  let head = null; // where it ends
  let pressed = null; // the pointer that drags
  let dragged = false;

  const between = (one, other) => [Math.min(one, other), Math.max(one, other)];

  function show() {
    if (!anchor) {
      box.remove();
      says.textContent = HINT;
      return;
    }
    const [left, right] = between(anchor.column, head.column);
    const [low, high] = between(anchor.row, head.row);
    // Rows go upwards: the one above ends where the next one begins.
    const [top, bottom] = [places.y[high], low ? places.y[low - 1] : places.y[0] + (places.y[0] - places.y[1])];
    box.setAttribute("x", places.x[left]);
    box.setAttribute("width", places.x[right + 1] - places.x[left]);
    box.setAttribute("y", top);
    box.setAttribute("height", bottom - top);
    svg.append(box);
    const cell = svg.querySelector(`[data-at="${head.column},${head.row}"] title`);
    const size = right > left || high > low ? `Box of ${right - left + 1} by ${high - low + 1}. ` : "";
    says.textContent = size + (cell?.textContent ?? `Nothing found\n${places.durations[head.row]}\n${places.times[head.column]}`).replaceAll("\n", " · ");
  }

  function narrow() {
    const [left, right] = between(anchor.column, head.column);
    const [low, high] = between(anchor.row, head.row);
    const url = new URL(figure.dataset.base, location.origin);
    const fields = { start: places.start[left], end: places.end[right], shortest: places.shortest[low], longest: places.longest[high] };
    for (const [name, value] of Object.entries(fields)) if (value) url.searchParams.set(name, value);
    location.assign(url);
  }

  function at(event) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const column = places.x.findLastIndex((x) => x <= point.x);
    const row = places.y.findIndex((y) => y <= point.y);
    const last = rows - 1;
    return { column: Math.max(0, Math.min(columns - 1, column)), row: row < 0 || row > last ? last : row };
  }

  function clear() {
    anchor = head = pressed = null;
    show();
  }

  svg.addEventListener("dragstart", (event) => event.preventDefault());
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary || event.ctrlKey || event.metaKey || event.shiftKey) return;
    dragged = false;
    pressed = { id: event.pointerId, x: event.clientX, y: event.clientY, place: at(event) };
  });
  svg.addEventListener("pointermove", (event) => {
    if (pressed?.id !== event.pointerId) return;
    if (!dragged) {
      if (Math.hypot(event.clientX - pressed.x, event.clientY - pressed.y) < 4) return;
      dragged = true;
      anchor = pressed.place;
      svg.setPointerCapture(event.pointerId);
    }
    head = at(event);
    show();
  });
  svg.addEventListener("pointerup", (event) => {
    if (pressed?.id !== event.pointerId) return;
    pressed = null;
    if (dragged) narrow();
  });
  svg.addEventListener("pointercancel", clear);
  // The end of a drag is no click on the cell below.
  svg.addEventListener("click", (event) => {
    if (dragged) event.preventDefault();
  }, true);

  tell("← → ↑ ↓", "Shift ←", "Enter", "Esc");
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  svg.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && anchor) clear();
    else if (event.key === "Enter" && anchor) narrow();
    else if (steps[event.key]) {
      const [right, up] = steps[event.key];
      if (!anchor) {
        const first = [...svg.querySelectorAll("[data-at]")].at(-1).dataset.at.split(",").map(Number);
        anchor = head = { column: first[0], row: first[1] };
      } else {
        head = {
          column: Math.max(0, Math.min(columns - 1, head.column + right)),
          row: Math.max(0, Math.min(rows - 1, head.row + up)),
        };
        if (!event.shiftKey) anchor = head;
      }
      show();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  says.hidden = false;
  addEventListener("pageshow", clear); // going back, the box would still be there
}
