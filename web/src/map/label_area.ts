// Labels by area: all results whose middle lies in a box of the map become examples at once.
import { counted, number } from "../panels/format";
import { allLabelled, labelOf } from "../state/labels";
import { rowsIn } from "../state/places";
import { MOST_EXAMPLES } from "../state/query";
import { answer, change, FOR_FIRST, notice, PICTURE_LEFT_OUT, query, shown, TOO_MANY } from "../state/store";
import type { BBox } from "./regions";

/** Make all results in an area examples, the nearest where they are too many, and search again. */
export function labelArea(area: BBox, as: "for" | "against"): void {
  const [found, before] = [answer.value, query.value];
  const ids = found ? rowsIn(area, found.boxes.slice(0, shown.value)).map((row) => found.ids[row]!) : [];
  const others = ids.filter((id) => labelOf(before, id) !== as);
  const { query: next, taken } = allLabelled(before, others, as);
  if (!ids.length) notice.value = "No result lies there. An area adds results; a click adds any chip.";
  else if (!others.length) notice.value = "All results there are examples already.";
  else if (!next.positive.length) notice.value = FOR_FIRST;
  else if (!taken) notice.value = TOO_MANY;
  else {
    const rest = taken < others.length ? `, the nearest of ${number(others.length)}: there can be ${MOST_EXAMPLES} of a kind` : "";
    notice.value = `${counted(taken, "more example")} ${as}${rest}.${before.code ? ` ${PICTURE_LEFT_OUT}` : ""}`;
    change(next);
  }
}
