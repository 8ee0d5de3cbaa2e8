// Labels by area: all results whose middle lies in a box of the map become examples at once.
import { counted } from "../panels/format";
import { allLabelled } from "../state/labels";
import { rowsIn } from "../state/places";
import { MOST_EXAMPLES } from "../state/query";
import { answer, change, FOR_FIRST, notice, query, shown } from "../state/store";
import type { BBox } from "./regions";

/** Make all results in an area examples, the nearest where they are too many, and search again. */
export function labelArea(area: BBox, as: "for" | "against"): void {
  const found = answer.value;
  const ids = found ? rowsIn(area, found.boxes.slice(0, shown.value)).map((row) => found.ids[row]!) : [];
  const { query: next, taken } = allLabelled(query.value, ids, as);
  if (!ids.length) notice.value = "No result lies there. An area adds results; a click adds any chip.";
  else if (!next.positive.length) notice.value = FOR_FIRST;
  else {
    const rest = taken < ids.length ? `, of ${counted(ids.length, "result")} there: there can be ${MOST_EXAMPLES} at most` : "";
    notice.value = `${counted(taken, "more example")} ${as}${rest}.`;
    if (taken) change(next);
  }
}
