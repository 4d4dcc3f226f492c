// The column of the names is as wide as it was made: by dragging its edge, or by the arrow keys on it.

import { waterfall } from "./rows.js";

const KEY = "trace-names";
const LEAST = 120;
const STEP = 24;

function limited(width) {
  return Math.round(Math.min(Math.max(LEAST, width), waterfall.clientWidth - 200));
}

function stored() {
  try {
    return Number(localStorage.getItem(KEY)) || 0;
  } catch {
    return 0; // Storage may be forbidden.
  }
}

function keep(width) {
  try {
    localStorage.setItem(KEY, String(width));
  } catch {
    // It lasts as long as the page then.
  }
}

/** Look at the page as it is now. */
export function loadColumn() {
  const grip = document.getElementById("column");
  const head = grip.parentElement;
  // Setting a property by script is no inline style, which the page's policy forbids.
  const set = (width) => {
    waterfall.parentElement.style.setProperty("--name", `${limited(width)}px`);
    grip.ariaValueNow = String(limited(width));
    grip.ariaValueMin = String(LEAST);
    grip.ariaValueMax = String(limited(Infinity));
  };
  grip.hidden = false;
  if (stored() && head.offsetWidth) set(stored());
  else grip.ariaValueNow = String(head.offsetWidth);
  grip.addEventListener("pointerdown", (down) => {
    const width = head.offsetWidth;
    const move = (event) => set(width + event.clientX - down.clientX);
    grip.setPointerCapture(down.pointerId);
    grip.addEventListener("pointermove", move);
    grip.addEventListener("lostpointercapture", () => {
      grip.removeEventListener("pointermove", move);
      keep(head.offsetWidth);
    }, { once: true });
    down.preventDefault();
  });
  grip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    set(head.offsetWidth + step);
    keep(head.offsetWidth);
  });
  grip.addEventListener("dblclick", () => {
    waterfall.parentElement.style.removeProperty("--name");
    keep(0);
  });
}
