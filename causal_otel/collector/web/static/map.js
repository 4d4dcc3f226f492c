// The drawing of the map: zoom by buttons, keys and wheel, drag to move it, and what a node calls stands out.

import { bind } from "./keys.js";
import { remember } from "./state.js";

const STEPS = [25, 50, 75, 100, 125, 150, 200];
const canvas = document.querySelector(".canvas");
const drawing = canvas?.querySelector("svg.drawing");
let wheeled = 0;

function percent() {
  return (100 * drawing.getBoundingClientRect().width) / Number(drawing.dataset.width);
}

/** Draw at a zoom, an element of STEPS or "fit"; the point of the window at x, y stays where it is. */
function zoom(to, x, y) {
  const box = canvas.getBoundingClientRect();
  const [left, top] = [x === undefined ? box.width / 2 : x - box.left, y === undefined ? box.height / 2 : y - box.top];
  const before = percent();
  const [, , width, height] = drawing.getAttribute("viewBox").split(" ").map(Number);
  if (to === "fit") {
    drawing.setAttribute("width", "100%");
    drawing.removeAttribute("height");
  } else {
    drawing.setAttribute("width", (width * to) / 100);
    drawing.setAttribute("height", (height * to) / 100);
  }
  const factor = percent() / before;
  canvas.scrollTo({
    left: (canvas.scrollLeft + left) * factor - left,
    top: (canvas.scrollTop + top) * factor - top,
    behavior: "instant",
  });
  drawing.dataset.zoom = to;
  for (const [id, name] of [["zoom-100", "100"], ["zoom-fit", "fit"]]) {
    if (String(to) === name) document.getElementById(id).setAttribute("aria-current", "true");
    else document.getElementById(id).removeAttribute("aria-current");
  }
  remember("zoom", to === 100 ? "" : String(to));
}

function step(by, x, y) {
  const now = percent();
  const larger = STEPS.find((each) => each > now + 1);
  const smaller = STEPS.findLast((each) => each < now - 1);
  zoom((by > 0 ? larger : smaller) ?? (by > 0 ? STEPS.at(-1) : STEPS[0]), x, y);
}

function standOut(name) {
  drawing.classList.toggle("dimmed", name !== undefined);
  if (name === undefined) return;
  const near = new Set([name]);
  for (const each of drawing.querySelectorAll("[data-from]")) {
    const { from, to } = each.dataset;
    const own = from === name || to === name;
    each.classList.toggle("near", own);
    if (own) near.add(from).add(to);
  }
  for (const each of drawing.querySelectorAll(".node")) each.classList.toggle("near", near.has(each.dataset.name));
}

function drag(event) {
  if (event.button !== 0 || event.pointerType !== "mouse" || event.target.closest("a")) return;
  const from = [event.clientX + canvas.scrollLeft, event.clientY + canvas.scrollTop];
  const move = (moved) => canvas.scrollTo({ left: from[0] - moved.clientX, top: from[1] - moved.clientY, behavior: "instant" });
  canvas.setPointerCapture(event.pointerId);
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("lostpointercapture", () => canvas.removeEventListener("pointermove", move), { once: true });
}

if (drawing) {
  const buttons = { "zoom-in": () => step(1), "zoom-out": () => step(-1), "zoom-100": () => zoom(100), "zoom-fit": () => zoom("fit") };
  for (const [id, act] of Object.entries(buttons))
    document.getElementById(id).addEventListener("click", (event) => {
      event.preventDefault();
      act();
    });
  bind("+", buttons["zoom-in"]);
  bind("-", buttons["zoom-out"]);
  bind("0", buttons["zoom-100"]);
  bind("f", buttons["zoom-fit"]);
  // The wheel alone scrolls, as everywhere; with Ctrl, which is also what a pinch on a touch pad says, it zooms.
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    wheeled += event.deltaY; // a touch pad tells of a pinch in many small steps
    if (Math.abs(wheeled) < 50) return;
    step(-wheeled, event.clientX, event.clientY);
    wheeled = 0;
  }, { passive: false });
  canvas.addEventListener("pointerdown", drag);
  for (const [start, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    // Not the drawing's listeners: Chromium has Tab stop at an SVG that listens for the focus.
    canvas.addEventListener(start, (event) => standOut(event.target.closest(".node")?.dataset.name));
    canvas.addEventListener(end, () => standOut(undefined));
  }
  drawing.querySelector(".hit")?.scrollIntoView({ block: "nearest", inline: "center" });
}
