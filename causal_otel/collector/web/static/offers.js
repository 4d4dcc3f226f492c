// What may stand in the query line where the cursor is: a combobox with a listbox, as ARIA 1.2 has it.

const DELAY = 120; // milliseconds without a key after which it is asked

const field = document.getElementById("q");
const list = document.getElementById("offers");
let found = null;
let chosen = -1;
let asked;
let timer = 0;

field.setAttribute("role", "combobox");
field.setAttribute("aria-autocomplete", "list");
field.setAttribute("aria-expanded", "false");
field.setAttribute("aria-controls", list.id);

function close() {
  clearTimeout(timer);
  asked?.abort();
  list.hidden = true;
  found = null;
  choose(-1);
  field.setAttribute("aria-expanded", "false");
}

/** Whether the list is about what stands in the field now: not while an answer is on its way. */
function isFresh() {
  return found !== null && found.line === field.value && found.at === field.selectionStart;
}

function choose(place) {
  chosen = place;
  for (const [number, option] of [...list.children].entries()) {
    option.setAttribute("aria-selected", String(number === place));
    if (number === place) option.scrollIntoView({ block: "nearest" });
  }
  if (place < 0) field.removeAttribute("aria-activedescendant");
  else field.setAttribute("aria-activedescendant", list.children[place].id);
}

function element(name, text) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}

function show() {
  list.replaceChildren(
    ...found.offers.map((offer, number) => {
      const option = document.createElement("li");
      option.id = `offer-${number}`;
      option.setAttribute("role", "option");
      option.append(element("text", offer.text.trim()), element("note", offer.note));
      option.title = offer.text.trim();
      // Before the field loses the focus.
      option.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        take(number);
      });
      return option;
    }),
  );
  list.hidden = !found.offers.length;
  field.setAttribute("aria-expanded", String(!list.hidden));
  choose(-1);
}

async function ask() {
  clearTimeout(timer);
  asked?.abort();
  asked = new AbortController();
  const line = field.value;
  const at = field.selectionStart;
  const service = document.getElementById("service").value;
  try {
    const answer = await fetch(`/ui/complete?${new URLSearchParams({ q: line, at, service })}`, { signal: asked.signal });
    if (!answer.ok) return close();
    const offered = await answer.json();
    if (document.activeElement !== field || field.value !== line || field.selectionStart !== at) return;
    found = { ...offered, line, at };
    show();
  } catch (error) {
    if (error.name !== "AbortError") close();
  }
}

function take(number) {
  if (!isFresh()) return;
  const { text } = found.offers[number];
  const { begin, end } = found;
  const rest = field.value.slice(end);
  const written = text.endsWith(" ") && /^[\s)]/.test(rest) ? text.trimEnd() : text;
  field.value = field.value.slice(0, begin) + written + rest;
  const at = begin + written.length;
  field.setSelectionRange(at, at);
  close();
  if (/[=:>]$/.test(written)) ask();
}

field.addEventListener("input", () => {
  clearTimeout(timer);
  choose(-1);
  timer = setTimeout(ask, DELAY);
});
field.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const open = !list.hidden;
  const last = list.children.length - 1;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    if (!open || !isFresh()) ask();
    else if (event.key === "ArrowDown") choose(chosen < last ? chosen + 1 : -1);
    else choose(chosen < 0 ? last : chosen - 1);
  } else if (event.key === "Escape" && open) {
    // Only the list: the next one leaves the field.
    event.preventDefault();
    event.stopPropagation();
    close();
  } else if ((event.key === "Enter" || event.key === "Tab") && open && chosen >= 0 && isFresh()) {
    event.preventDefault();
    take(chosen);
  } else if (event.key === "Enter") {
    close();
  }
});
field.addEventListener("blur", close);
