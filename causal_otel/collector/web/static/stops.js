// The way through some spans: those that were found, or have failed. Some may be in runs that are closed.

import { reveal } from "./collapse.js";
import { goTo } from "./details.js";
import { currentPlace, length, row, setCurrent, spanId } from "./rows.js";

/** The way through what the server has told: `count`, and `stops`, each a span's id, its row, and its number. */
export function stopsOf({ count, stops }) {
  const isThere = ([id, place]) => place < length && spanId(place) === id;

  function here() {
    return stops.findIndex((stop) => stop[1] === currentPlace() && isThere(stop));
  }

  return {
    count,
    /** The rows of those that have one, and of the runs that others are in. */
    rows: () => [...new Set(stops.map(([, place]) => place))].filter((place) => place < length),
    /** The number of the one that is current, from 1; 0 if none is. */
    number: () => stops[here()]?.[2] ?? 0,
    /** Go to the next one in the direction of `step`, going round. False if there is none, or another page has it. */
    async go(step, { focus = true } = {}) {
      if (!stops.length) return false;
      const at = here();
      const place = currentPlace();
      let next = at + step;
      if (at < 0 && step > 0) next = Math.max(0, stops.findIndex((stop) => stop[1] > place || (stop[1] === place && !isThere(stop))));
      if (at < 0 && step < 0) next = stops.findLastIndex((stop) => stop[1] < place);
      const stop = stops.at(next % stops.length);
      const [id, where] = stop;
      if (!isThere(stop)) {
        await goTo(id); // the run that it is in has to be opened first
        return false;
      }
      reveal(where);
      setCurrent(where, { focus });
      if (!focus) row(where).scrollIntoView({ block: "nearest" });
      return true;
    },
  };
}
