// Keyboard shortcuts: bind("j", "Next trace", () => ...). Those bound are listed by "?".

/** @type {Map<string, {description: string, action: (event: KeyboardEvent) => void}>} */
const bindings = new Map();

/** What a key does while no field is being typed in. An empty description keeps it out of the help. */
export function bind(key, description, action) {
  bindings.set(key, { description, action });
}

/** Key and description of every shortcut that is to be shown. */
export function shortcuts() {
  return [...bindings].filter(([, { description }]) => description).map(([key, { description }]) => [key, description]);
}

function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=checkbox]), select, textarea"));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  const bound = bindings.get(event.key);
  if (bound) {
    event.preventDefault();
    bound.action(event);
  }
});
