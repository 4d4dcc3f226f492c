// What every page does: the theme's toggle, the help for the keyboard, local times as tooltips.

import { bind, shortcuts } from "./keys.js";
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

function showHelp() {
  const dialog = document.getElementById("help");
  const list = dialog.querySelector("dl");
  list.replaceChildren(
    ...shortcuts().flatMap(([key, description]) => {
      const term = document.createElement("dt");
      const name = document.createElement("kbd");
      name.textContent = key;
      term.append(name);
      const meaning = document.createElement("dd");
      meaning.textContent = description;
      return [term, meaning];
    }),
  );
  dialog.showModal();
}

const toggle = document.getElementById("theme");
toggle.hidden = false;
toggle.addEventListener("click", toggleTheme);
const help = document.getElementById("help-open");
help.hidden = false;
help.addEventListener("click", showHelp);
localTimes(document);

bind("/", "Go to the search field", () => document.querySelector("[data-slash]")?.focus());
bind("?", "Show the keyboard shortcuts", showHelp);
bind("t", "Switch between light and dark", toggleTheme);
