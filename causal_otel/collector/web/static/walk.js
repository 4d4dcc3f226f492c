// j and k move the focus through a list of traces; Enter opens what is focused, as it does any link.

import { bind } from "./keys.js";

/** Let the keyboard walk through the `.trace-name` links inside `list`; without a list, nothing. */
export function walk(list) {
  if (!list) return;
  const step = (by) => {
    const links = [...list.querySelectorAll(".trace-name")];
    const at = links.indexOf(document.activeElement?.closest(".trace")?.querySelector(".trace-name"));
    const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by))];
    next?.focus();
    next?.closest(".trace").scrollIntoView({ block: "nearest" });
  };
  bind("j", () => step(1));
  bind("k", () => step(-1));
}
