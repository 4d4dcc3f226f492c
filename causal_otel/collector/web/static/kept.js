// Recent and saved searches, in this browser only: a name and an address each.

const MOST_RECENT = 20;
const MOST_SAVED = 100;
const LONGEST = 8000; // characters of an address

const box = document.getElementById("kept");
const opener = document.getElementById("kept-open");
const menu = document.getElementById("kept-menu");
const name = document.getElementById("keep-name");
const text = document.getElementById("kept-text");
const here = location.pathname + location.search;

function isEntry(each) {
  return typeof each?.name === "string" && typeof each?.address === "string" && /^\/(\?|$)/.test(each.address);
}

function read(list) {
  try {
    const found = JSON.parse(localStorage.getItem(`searches.${list}`) ?? "[]");
    return Array.isArray(found) ? found.filter(isEntry) : [];
  } catch {
    return [];
  }
}

function write(list, entries) {
  try {
    localStorage.setItem(`searches.${list}`, JSON.stringify(entries));
  } catch {
    // Storage may be forbidden or full: nothing is kept then.
  }
}

function called(address) {
  const asked = new URLSearchParams(address.slice(2));
  for (const place of ["after", "before", "beside"]) asked.delete(place);
  const words = [asked.get("q"), ...[...asked].filter(([key]) => key !== "q").map(([key, value]) => `${key}: ${value}`)];
  return words.filter(Boolean).join(" · ") || "Everything";
}

function withoutPlace(address) {
  const url = new URL(address, location.origin);
  for (const place of ["after", "before", "beside"]) url.searchParams.delete(place);
  return url.pathname + url.search;
}

function item(list, entry) {
  const made = document.createElement("li");
  const link = document.createElement("a");
  link.href = entry.address;
  link.textContent = entry.name;
  link.title = called(entry.address);
  const remove = document.createElement("button");
  remove.type = "button";
  remove.textContent = "Delete";
  remove.setAttribute("aria-label", `Delete ${entry.name}`);
  remove.addEventListener("click", () => {
    write(list, read(list).filter((each) => each.name !== entry.name || each.address !== entry.address));
    show();
    name.focus();
  });
  made.append(link, remove);
  return made;
}

function show() {
  for (const list of ["saved", "recent"]) {
    const entries = read(list);
    const none = document.createElement("li");
    none.className = "empty-list";
    none.textContent = "none";
    document.getElementById(list).replaceChildren(...(entries.length ? entries.map((each) => item(list, each)) : [none]));
  }
  text.hidden = true;
}

function toggle(open) {
  menu.hidden = !open;
  opener.setAttribute("aria-expanded", String(open));
  if (!open) return;
  show();
  name.value = called(here).slice(0, name.maxLength);
  name.focus();
}

function remember() {
  const address = withoutPlace(here);
  if (address === "/" || address.length > LONGEST || document.querySelector("[aria-invalid=true]")) return;
  const others = read("recent").filter((each) => each.address !== address);
  write("recent", [{ name: called(address), address }, ...others].slice(0, MOST_RECENT));
}

document.getElementById("keep").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = name.value.trim();
  if (!wanted) return;
  const others = read("saved").filter((each) => each.name !== wanted);
  write("saved", [{ name: wanted, address: withoutPlace(here) }, ...others].slice(0, MOST_SAVED));
  show();
});
document.getElementById("kept-clear").addEventListener("click", () => {
  write("recent", []);
  show();
});
document.getElementById("kept-export").addEventListener("click", () => {
  text.value = [...read("saved"), ...read("recent")].map((each) => `${each.name}\t${location.origin}${each.address}`).join("\n");
  text.hidden = false;
  text.select();
});
opener.addEventListener("click", () => toggle(menu.hidden));
document.addEventListener("pointerdown", (event) => {
  if (!menu.hidden && !box.contains(event.target)) toggle(false);
});
box.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !menu.hidden) {
    toggle(false);
    opener.focus();
  }
});
box.hidden = false;
remember();
