// The trace page: what its keys and buttons do. Everything but copying works without this, by links and forms.

import { collapseAll, expandAll, isCollapsed, reveal, toggle } from "./collapse.js";
import { closeHidden, goTo, showCopyButtons, toggleDetails } from "./details.js";
import "./find.js";
import { bind } from "./keys.js";
import { currentPlace, isParent, length, level, move, nextAmong, parentOf, placeAround, placeOf, row, setCurrent, waterfall } from "./rows.js";
import { announce, ids, remember, visit } from "./state.js";

const errors = JSON.parse(document.getElementById("errors").textContent).map(placeOf).filter((place) => place !== undefined);

function goToError(step) {
  const place = nextAmong(errors, step);
  if (place === undefined) {
    announce("No span has failed");
    return;
  }
  reveal(place);
  setCurrent(place);
  announce(`Error ${errors.indexOf(place) + 1} of ${errors.length}`);
}

function toggleCritical() {
  const on = waterfall.classList.toggle("critical");
  const button = document.getElementById("critical");
  button.ariaPressed = String(on);
  document.getElementById("until")?.toggleAttribute("hidden", !on);
  remember("critical", on ? button.dataset.until : "");
}

function toggleLogs() {
  const button = document.getElementById("show-logs");
  if (!button) return;
  const off = waterfall.classList.toggle("no-logs");
  document.querySelector(".logs.elsewhere")?.classList.toggle("off", off);
  button.ariaPressed = String(!off);
  remember("logs", off ? "off" : "");
}

function fold(place) {
  toggle(place);
  closeHidden();
}

function foldAll() {
  collapseAll();
  closeHidden();
}

function left() {
  const place = currentPlace();
  if (isParent(place) && !isCollapsed(place)) fold(place);
  else if (level(place) > 1) setCurrent(parentOf(place));
}

function right() {
  const place = currentPlace();
  if (isCollapsed(place)) fold(place);
  else if (isParent(place)) move(1);
}

async function copy(button) {
  const value = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(value);
    announce("Copied");
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  } catch {
    // Without https, or without leave, a browser gives no clipboard: the id is at least there to be copied by hand.
    window.prompt("Copy this", value);
  }
}

function onClick(id, action) {
  document.getElementById(id)?.addEventListener("click", (event) => {
    event.preventDefault();
    action();
  });
}

waterfall.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const target = event.target.closest("a, button, .time");
  const place = target && placeAround(target);
  if (place === undefined || place === null) return;
  if (target.matches(".op, .time")) {
    event.preventDefault();
    setCurrent(place);
    toggleDetails(place);
  } else if (target.matches(".fold")) {
    event.preventDefault();
    setCurrent(place);
    fold(place);
  } else if (target.dataset.span && placeOf(target.dataset.span) !== undefined) {
    event.preventDefault();
    goTo(target.dataset.span);
  }
});

waterfall.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.matches(".op")) {
    event.preventDefault();
    toggleDetails(placeAround(event.target));
  }
});

waterfall.addEventListener("focusin", (event) => {
  const place = placeAround(event.target);
  if (place !== undefined && place !== currentPlace()) setCurrent(place, { focus: false });
});

document.getElementById("why")?.addEventListener("click", (event) => {
  const id = event.target.closest("a[data-span]")?.dataset.span;
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button || placeOf(id) === undefined) return;
  event.preventDefault();
  goTo(id);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});

document.getElementById("minimap")?.addEventListener("click", (event) => {
  const screen = event.currentTarget.getScreenCTM().inverse();
  const { y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(screen);
  const nearest = Math.min(Math.max(Math.floor(y), 0), length - 1);
  reveal(nearest);
  setCurrent(nearest, { focus: false });
  row(nearest).scrollIntoView({ block: "center" });
});

onClick("error-next", () => goToError(1));
onClick("error-previous", () => goToError(-1));
onClick("critical", toggleCritical);
onClick("show-logs", toggleLogs);
for (const link of document.querySelectorAll("#until a")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    visit("critical", link.dataset.until);
  });
}
onClick("collapse-all", foldAll);
onClick("expand-all", expandAll);
showCopyButtons(document);

bind("j", () => move(1));
bind("k", () => move(-1));
bind("ArrowDown", () => move(1));
bind("ArrowUp", () => move(-1));
bind("ArrowLeft", left);
bind("ArrowRight", right);
bind("h", left);
bind("l", right);
bind("o", () => toggleDetails(currentPlace()));
bind("n", () => goToError(1));
bind("p", () => goToError(-1));
bind("f", () => document.getElementById("find").elements.find.select());
bind("x", toggleCritical);
bind("g", toggleLogs);
bind("e", expandAll);
bind("w", foldAll);
bind("c", () => copy(document.getElementById("copy-trace")));

const asked = ids("span").at(-1);
if (asked && placeOf(asked) !== undefined) {
  reveal(placeOf(asked));
  setCurrent(placeOf(asked));
  row(placeOf(asked)).scrollIntoView({ block: "center" });
} else if (length) {
  setCurrent(0, { focus: false });
}
