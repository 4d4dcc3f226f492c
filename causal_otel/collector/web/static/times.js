// Times: a tooltip in the viewer's own zone, and ages that stay true while a page stays open.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

/** Say in the viewer's own time zone, as a tooltip, what the <time> elements inside `node` say in UTC. */
export function localTimes(node) {
  for (const time of node.querySelectorAll("time[datetime]")) {
    time.title = `${new Date(time.dateTime).toLocaleString()} (your time)`;
  }
}

/** Bring the ages inside `node` up to date. */
export function freshAges(node) {
  for (const time of node.querySelectorAll("time[data-age]")) {
    const seconds = Math.floor((Date.now() - Date.parse(time.dateTime)) / 1000);
    const [size, unit] = UNITS.find(([each]) => seconds >= each) ?? [];
    if (size) time.textContent = `${Math.floor(seconds / size)} ${unit} ago`;
  }
}
