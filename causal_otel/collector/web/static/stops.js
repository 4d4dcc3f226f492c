// The way through some spans: those that were found, or have failed. Some may be in runs that are closed.

import { reveal } from "./collapse.js";
import { goTo } from "./details.js";
import { currentPlace, length, row, setCurrent, spanId } from "./rows.js";

/** The way through what the server has told: `count`, and `stops`, each a span's id, its row, and its number. */
export function stopsOf({ count, stops }) {
  const known = stops.filter(([, place]) => place < length);

  function here() {
    return known.findIndex(([id, place]) => place === currentPlace() && spanId(place) === id);
  }

  return {
    count,
    /** The rows of those that have one, and of the runs that others are in. */
    rows: () => [...new Set(known.map(([, place]) => place))],
    /** The number of the one that is current, from 1; 0 if none is. */
    number: () => known[here()]?.[2] ?? 0,
    /** Go to the next one in the direction of `step`, going round. False if there is none, or another page has it. */
    async go(step, { focus = true } = {}) {
      if (!known.length) return false;
      const at = here();
      const place = currentPlace();
      let next = at + step;
      if (at < 0 && step > 0) next = known.findIndex(([id, where]) => where > place || (where === place && spanId(where) !== id));
      if (at < 0 && step < 0) next = known.findLastIndex(([, where]) => where < place);
      const [id, where] = known[next < 0 ? (step > 0 && at < 0 ? 0 : known.length - 1) : next % known.length];
      if (spanId(where) !== id) {
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
