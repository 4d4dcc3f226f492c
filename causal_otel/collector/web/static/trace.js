// The trace page: what its keys and buttons do. Everything but copying works without this, by links and forms.

import { collapseAll, expandAll, isCollapsed, loadCollapsed, reveal, toggle } from "./collapse.js";
import { loadColumn } from "./column.js";
import { closeHidden, closeInside, goTo, loadDetails, showCopyButtons, toggleDetails } from "./details.js";
import { loadFind, tell } from "./find.js";
import { onShown, showInPlace } from "./in_place.js";
import { bind } from "./keys.js";
import { currentPlace, isExpanded, isParent, isRun, length, level, loadRows, materialiseAll, move, parentOf, placeAround, placeOf, row, setCurrent, spanId, waterfall } from "./rows.js";
import { announce, ids, loadState, merged, remember, visit } from "./state.js";
import { stopsOf } from "./stops.js";
import { loadZone } from "./zone.js";
import { loadZoom } from "./zoom.js";

let errors = stopsOf({ count: 0, stops: [] });

async function goToError(step) {
  if (!waterfall) return;
  if (!errors.count) announce("No span has failed");
  else if (await errors.go(step)) announce(`Error ${errors.number()} of ${errors.count}`);
}

function toggleCritical() {
  const on = waterfall.classList.toggle("critical");
  const button = document.getElementById("critical");
  button.ariaPressed = String(on);
  document.getElementById("until")?.toggleAttribute("hidden", !on);
  remember("critical", on ? button.dataset.until : "");
}

function showLogs() {
  follow(document.querySelector(".tabs a:last-child"));
}

/** Go where a link leads, in place. */
function follow(link) {
  const place = link.closest(".run, .more") ? placeAround(link) : undefined;
  if (place !== undefined && link.matches(".op, .fold")) closeInside(row(place).matches(".more") ? parentOf(place) : place);
  return showInPlace(merged(link.getAttribute("href")));
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
  if (place < 0) return;
  if (isRun(place) && isExpanded(place)) toggleDetails(place);
  else if (isParent(place) && !isCollapsed(place)) fold(place);
  else if (level(place) > 1) setCurrent(parentOf(place));
}

function right() {
  const place = currentPlace();
  if (place < 0) return;
  if (isRun(place) && !isExpanded(place)) toggleDetails(place);
  else if (isRun(place)) move(1);
  else if (isCollapsed(place)) fold(place);
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

const clicks = {
  "error-next": () => goToError(1),
  "error-previous": () => goToError(-1),
  critical: toggleCritical,
  "collapse-all": foldAll,
  "expand-all": expandAll,
};

function isPlain(event) {
  return !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button || event.defaultPrevented);
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("a, button, .row .time");
  if (!target || !isPlain(event)) return;
  const action = clicks[target.id];
  if (action) {
    event.preventDefault();
    action();
  } else if (target.matches("button[data-copy]")) {
    copy(target);
  } else if (target.matches("a[data-in-place]")) {
    event.preventDefault();
    follow(target);
  } else if (target.matches("#until a")) {
    event.preventDefault();
    visit("critical", target.dataset.until);
  } else if (target.dataset.span) {
    event.preventDefault();
    if (waterfall) goTo(target.dataset.span);
    else showInPlace(merged(target.getAttribute("href")));
  } else if (waterfall?.contains(target)) {
    clickRow(target, event);
  }
});

function clickRow(target, event) {
  const place = placeAround(target);
  if (place === undefined || place === null) return;
  if (target.matches(".op, .time, .linking")) {
    event.preventDefault();
    setCurrent(place);
    toggleDetails(place);
  } else if (target.matches(".fold")) {
    event.preventDefault();
    setCurrent(place);
    fold(place);
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-in-place]")) return;
  event.preventDefault();
  const address = new URL(event.target.action);
  address.search = new URLSearchParams([...new FormData(event.target)].filter(([, value]) => value));
  showInPlace(merged(address));
});

document.addEventListener("keydown", (event) => {
  if (event.key === " " && event.target.matches("#waterfall .op")) {
    event.preventDefault();
    toggleDetails(placeAround(event.target));
  }
});

document.addEventListener("focusin", (event) => {
  if (!waterfall?.contains(event.target)) return;
  const place = placeAround(event.target);
  if (place !== undefined && place !== currentPlace()) setCurrent(place, { focus: false });
});

/** Go to the row at a height of the overview, from 0 to `length`. */
function goToHeight(y) {
  if (!length) return;
  const nearest = Math.min(Math.max(Math.floor(y), 0), length - 1);
  reveal(nearest);
  setCurrent(nearest, { focus: false });
  // A double click, which is something else, needs the overview to stay where it is.
  setTimeout(() => nearest === currentPlace() && row(nearest).scrollIntoView({ block: "center" }), 300);
}

bind("j", () => move(1));
bind("k", () => move(-1));
bind("ArrowDown", () => move(1));
bind("ArrowUp", () => move(-1));
bind("ArrowLeft", left);
bind("ArrowRight", right);
bind("h", left);
bind("l", right);
bind("o", () => currentPlace() >= 0 && toggleDetails(currentPlace()));
bind("n", () => goToError(1));
bind("p", () => goToError(-1));
bind("f", () => document.getElementById("find")?.elements.find.select());
bind("x", () => waterfall && toggleCritical());
bind("g", showLogs);
bind("e", () => waterfall && expandAll());
bind("w", () => waterfall && foldAll());
bind("c", () => copy(document.getElementById("copy-trace")));

/** Look at the page as it is now. `target` is the id of the element to be scrolled to, if the address names one. */
function load(target) {
  const before = currentPlace() < 0 ? "" : spanId(currentPlace());
  loadState();
  loadRows();
  loadZone();
  showCopyButtons(document);
  if (waterfall) {
    loadCollapsed();
    loadDetails();
    loadFind();
    errors = stopsOf(JSON.parse(document.getElementById("errors").textContent));
    loadZoom(goToHeight);
    loadColumn();
    const asked = target === undefined ? ids("span").at(-1) : target.startsWith("r-") ? target : target.replace(/^s-/, "");
    if (asked && placeOf(asked) !== undefined) {
      reveal(placeOf(asked));
      setCurrent(placeOf(asked));
      row(placeOf(asked)).scrollIntoView({ block: target === undefined ? "center" : "nearest" });
    } else if (length) {
      setCurrent(placeOf(before) ?? 0, { focus: false });
    }
    tell();
  }
  // What takes long to work out comes when the page can be used already.
  const later = document.getElementById("explain");
  if (later) setTimeout(() => later.isConnected && showInPlace(merged(later.getAttribute("href")), { remembered: false }), 50);
}

addEventListener("beforeprint", materialiseAll);
onShown(load);
load();
