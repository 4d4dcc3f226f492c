// Times of day in the viewer's own zone, or in UTC: the address says which, else the browser remembers.

import { remember } from "./state.js";

const KEY = "zone";

function stored() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // Storage may be forbidden.
  }
}

function chosen() {
  const asked = new URL(location.href).searchParams.get("zone");
  return (["utc", "local"].includes(asked) ? asked : stored()) === "utc" ? "utc" : "local";
}

function written(date, zone) {
  const pad = (number) => String(number).padStart(2, "0");
  if (zone === "utc") return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const offset = -date.getTimezoneOffset();
  const apart = `${offset < 0 ? "-" : "+"}${pad(Math.floor(Math.abs(offset) / 60))}:${pad(Math.abs(offset) % 60)}`;
  return `${day} ${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())} (UTC${apart})`;
}

function show(zone) {
  for (const time of document.querySelectorAll("time.zoned")) {
    time.textContent = written(new Date(time.dateTime), zone);
    time.title = written(new Date(time.dateTime), zone === "utc" ? "local" : "utc");
  }
  for (const time of document.querySelectorAll(".records time")) {
    const date = new Date(time.dateTime);
    time.title = zone === "utc" ? `${date.toISOString().slice(11, 23)} UTC` : date.toLocaleTimeString([], { timeStyle: "medium" });
  }
  const button = document.getElementById("zone");
  button.textContent = zone === "utc" ? "local time" : "UTC";
  button.title = `Show times ${zone === "utc" ? "in your own zone" : "in UTC"}`;
}

/** Look at the page as it is now. */
export function loadZone() {
  const button = document.getElementById("zone");
  button.hidden = false;
  show(chosen());
  button.addEventListener("click", () => {
    const zone = chosen() === "utc" ? "local" : "utc";
    try {
      localStorage.setItem(KEY, zone);
    } catch {
      // The address remembers it for this page.
    }
    remember("zone", zone);
    show(zone);
  });
}
