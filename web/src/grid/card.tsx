// A result: its picture, distance and date, and the buttons that make it an example.
import type { JSX } from "preact";
import type { Answer } from "../api/search";
import { colourOf } from "../map/colours";
import { number, placeOf } from "../panels/format";
import { Icon } from "../panels/icons";
import { openChip } from "../panels/chip_dialog";
import { labelOf } from "../state/labels";
import { focused, fresh, hovered, label, query } from "../state/store";
import { isDark } from "../state/theme";
import type { Place } from "../state/places";
import { Picture } from "./picture";

interface Props {
  readonly answer: Answer;
  readonly place: Place;
  readonly position: number;
  readonly total: number;
  readonly isTabStop: boolean;
  readonly least: number;
  readonly greatest: number;
}

export function Card({ answer, place, position, total, isTabStop, least, greatest }: Props): JSX.Element {
  const { row, behind } = place;
  const id = answer.ids[row]!;
  const distance = answer.distances[row]!;
  const as = labelOf(query.value, id);
  const time = answer.times[row] ?? null;
  const isBeyond = answer.chance !== null && distance > answer.chance;
  const said = { for: ", an example for", against: ", an example against", none: "" }[as];
  const rest = `bits, ${placeOf(answer.boxes[row])}${said}${isBeyond ? ", no nearer than chance" : ""}`;
  return (
    <li class={`card ${as}`} aria-setsize={total} aria-posinset={position + 1}>
      <button
        class="open"
        data-row={row}
        data-id={id}
        tabIndex={isTabStop ? 0 : -1}
        aria-haspopup="dialog"
        onFocus={() => (focused.value = row)}
        onMouseEnter={() => (hovered.value = row)}
        onMouseLeave={() => (hovered.value = -1)}
        onClick={() => openChip(row)}
      >
        <Picture id={id} size={128} alt="" />
        {fresh.value.has(id) && <span class="fresh" title="Not among the results before">new</span>}
        {behind.length > 0 && <span class="behind">+{behind.length}</span>}
        <span class="swatch" style={{ background: colourOf(distance, least, greatest, isDark.value) }} />
        <span class="facts">
          <span class="distance">{number(distance)}</span>
          <span class="sr"> {rest} </span>
          <span class="when">{time ? time.slice(0, 10) : isBeyond ? "by chance" : ""}</span>
        </span>
      </button>
      <span class="labels">
        <LabelButton id={id} as="for" pressed={as === "for"} />
        <LabelButton id={id} as="against" pressed={as === "against"} />
      </span>
    </li>
  );
}

function LabelButton({ id, as, pressed }: { id: string; as: "for" | "against"; pressed: boolean }): JSX.Element {
  const title = as === "for" ? "More like this (P)" : "Less like this (N)";
  return (
    <button
      class={`label ${as}`}
      tabIndex={-1}
      title={title}
      aria-label={title}
      aria-pressed={pressed}
      onClick={() => label(id, pressed ? "none" : as)}
    >
      <Icon name={as === "for" ? "plus" : "minus"} />
    </button>
  );
}
