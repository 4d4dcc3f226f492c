// What every page does: the theme's toggle, the help for the keyboard, local times as tooltips.

import { bind, isBound } from "./keys.js";
import { localTimes } from "./times.js";

const root = document.documentElement;

function toggleTheme() {
  const dark = root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Storage may be forbidden; the choice lasts as long as the page then.
  }
}

function showHelp(event) {
  event?.preventDefault();
  const dialog = document.getElementById("help");
  const rows = dialog.querySelector("template").content.cloneNode(true);
  dialog.querySelector("dl").replaceChildren(rows);
  // Some keys are there only if there is something that they could act on.
  for (const row of dialog.querySelectorAll("[data-key]")) row.hidden = !isBound(row.dataset.key);
  dialog.showModal();
}

const toggle = document.getElementById("theme");
toggle.hidden = false;
toggle.addEventListener("click", toggleTheme);
const help = document.getElementById("help-open");
help.addEventListener("click", showHelp);
localTimes(document);

bind("/", () => document.querySelector("[data-slash]")?.focus());
bind("?", showHelp);
bind("t", toggleTheme);
