// Zoom: drag over the overview or the axis, double click for all of it. Arrows and links do the same.

import { bind } from "./keys.js";
import { length, waterfall } from "./rows.js";
import { announce, visitAll } from "./state.js";

const LEAST = 4; // pixels that are a drag and no click

function follow(id) {
  document.getElementById(id)?.click();
}

/** Have a box drawn over `area` while it is dragged over, and tell where from and to it was, from 0 to 1. */
function onDrag(area, dragged, clicked = () => {}) {
  area.addEventListener("pointerdown", (down) => {
    if (down.button || !down.isPrimary) return;
    const { left, width } = area.getBoundingClientRect();
    const at = (event) => Math.min(1, Math.max(0, (event.clientX - left) / width));
    const begin = at(down);
    const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    box.classList.add("dragged");
    let moved = false;
    const move = (event) => {
      if (!moved && Math.abs(event.clientX - down.clientX) < LEAST) return;
      if (!moved) area.append(box);
      moved = true;
      const [from, to] = [begin, at(event)].sort((a, b) => a - b);
      box.setAttribute("x", `${100 * from}%`);
      box.setAttribute("width", `${100 * (to - from)}%`);
      box.setAttribute("height", "100%");
    };
    const stop = (event) => {
      area.removeEventListener("pointermove", move);
      area.removeEventListener("pointerup", stop);
      area.removeEventListener("pointercancel", stop);
      box.remove();
      if (event.type === "pointercancel") return;
      if (!moved) clicked(event);
      else if (at(event) !== begin) dragged(...[begin, at(event)].sort((a, b) => a - b));
    };
    area.setPointerCapture(down.pointerId);
    area.addEventListener("pointermove", move);
    area.addEventListener("pointerup", stop);
    area.addEventListener("pointercancel", stop);
    down.preventDefault();
  });
}

async function zoomTo(from, to) {
  await visitAll({ from: String(Math.round(from)), to: String(Math.max(Math.round(from) + 1, Math.round(to))) });
  announce("Zoomed in");
}

async function reset() {
  if (new URL(location.href).searchParams.has("from")) await visitAll({ from: "", to: "" });
}

/** Look at the page as it is now. A click in the overview goes to a row: `goToHeight` is given its height. */
export function loadZoom(goToHeight) {
  const [start, end, whole] = ["start", "end", "length"].map((name) => Number(waterfall.dataset[name]));
  const minimap = document.getElementById("minimap");
  if (minimap) {
    onDrag(
      minimap,
      (from, to) => zoomTo(from * whole, to * whole),
      (event) => {
        const { top, height } = minimap.getBoundingClientRect();
        const padding = parseFloat(getComputedStyle(minimap).paddingTop);
        goToHeight(((event.clientY - top - padding) / (height - 2 * padding)) * length);
      },
    );
    minimap.addEventListener("dblclick", reset);
  }
  const scale = document.getElementById("scale");
  onDrag(scale, (from, to) => zoomTo(start + from * (end - start), start + to * (end - start)));
  scale.addEventListener("dblclick", reset);
}

bind("+", () => follow("zoom-in"));
bind("-", () => follow("zoom-out"));
bind("<", () => follow("zoom-earlier"));
bind(">", () => follow("zoom-later"));
bind("0", () => follow("zoom-all"));
