// Keyboard shortcuts: bind("j", () => ...). What the keys do is told to people by the table in web/keyboard.py.

/** @type {Map<string, (event: KeyboardEvent) => void>} */
const bindings = new Map();

/** What a key does while no field is being typed in. */
export function bind(key, action) {
  bindings.set(key, action);
}

/** @type {Set<string>} */
const told = new Set();

/** The help is to list these keys, which a part of the page listens for itself, as the table calls them. */
export function tell(...keys) {
  for (const key of keys) told.add(key);
}

/** Whether the key does anything on this page. */
export function isBound(key) {
  return bindings.has(key) || told.has(key);
}

/** The keys that do something on this page. */
export function bound() {
  return [...bindings.keys(), ...told];
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
  const action = bindings.get(event.key);
  if (action) {
    event.preventDefault();
    action(event);
  }
});
