// The search page: j and k through the results, two of them to compare, the operations of the chosen service, short
// addresses, a better count where the page's own had no time.

import { walk } from "./walk.js";

const form = document.getElementById("search");
const { service, operation, lookback, start, end } = form.elements;
const range = document.getElementById("range");

function showRange() {
  range.hidden = lookback.value !== "custom";
  if (range.hidden) start.value = end.value = "";
}

let asked;

async function offerOperations() {
  asked?.abort();
  asked = new AbortController();
  const list = document.getElementById("operations");
  operation.value = "";
  list.replaceChildren();
  if (!service.value) return;
  try {
    const answer = await fetch(`/ui/operations?${new URLSearchParams({ service: service.value })}`, { signal: asked.signal });
    if (!answer.ok) return;
    for (const name of await answer.json()) {
      const option = document.createElement("option");
      option.value = name;
      list.append(option);
    }
  } catch (error) {
    if (error.name !== "AbortError") console.warn(`The operations of ${service.value} could not be fetched: ${error.message}`);
  }
}

lookback.addEventListener("change", () => {
  showRange();
  if (!range.hidden) start.focus();
});
service.addEventListener("change", offerOperations);
form.addEventListener("formdata", ({ formData }) => {
  // An address says only what differs from an empty form.
  for (const [name, value] of [...formData]) {
    if (value === (form.elements[name].dataset.default ?? "")) formData.delete(name);
  }
  if (start.value || end.value) formData.delete("lookback");
});
document.getElementById("tags").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
showRange();
walk(document.getElementById("traces"));

// Two traces can be compared, no more.
const picks = [...document.querySelectorAll(".pick")];

function limitPicks() {
  const chosen = picks.filter((pick) => pick.checked).length;
  for (const pick of picks) pick.disabled = chosen >= 2 && !pick.checked;
  document.querySelector(".compare").disabled = chosen !== 2;
}

if (picks.length) {
  addEventListener("change", limitPicks);
  addEventListener("pageshow", limitPicks); // going back, the browser has them ticked again
}

const total = document.querySelector("#total[data-count]");

async function count() {
  const answer = await fetch(`/ui/count${location.search}`);
  if (!answer.ok) return;
  const { traces, says } = await answer.json();
  const shown = Number(total.textContent.replace(/\D/g, ""));
  if (traces >= shown) total.textContent = says;
}

if (total) count().catch(() => {}); // the page's own count stays
