// One chip: itself, its surroundings, why it matched, and what can be done from here.
import { computed, signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { askDates, type ChipDate } from "../api/archive";
import { Picture } from "../grid/picture";
import { answer, focused, label, labelOf, places, query, searchFrom, type Label } from "../state/store";
import { theWorld } from "../map/map";
import { centreOf } from "../state/places";
import { isNarrow } from "../state/width";
import { Dialog } from "./dialog";
import { counted, day, number, placeOf } from "./format";
import { Icon } from "./icons";
import { Swipe } from "./swipe";

const row = signal(-1);
const place = computed(() => places.value.find((each) => each.row === row.value));

/** Open the dialog on a row of the answer. */
export function openChip(of: number): void {
  row.value = of;
  focused.value = of;
}

export function ChipDialog(): JSX.Element {
  const found = answer.value;
  const id = found?.ids[row.value];
  const close = (): void => {
    row.value = -1;
  };
  return (
    <Dialog title="One chip" isOpen={id !== undefined} onClose={close} wide>
      {found && id !== undefined && <Body id={id} close={close} />}
    </Dialog>
  );
}

function Body({ id, close }: { id: string; close: () => void }): JSX.Element {
  const found = answer.value!;
  const at = row.value;
  const distance = found.distances[at]!;
  const box = found.boxes[at] ?? null;
  const isBeyond = found.chance !== null && distance > found.chance;
  return (
    <div class="chip">
      <figure>
        <Picture id={id} size={256} alt="The chip" />
        <figcaption>The chip</figcaption>
      </figure>
      <figure>
        <Picture id={id} size={256} context={3} alt="The chip in its surroundings" />
        <figcaption>Its surroundings, three times as wide</figcaption>
      </figure>
      <div class="stack">
        <p class="big">
          {number(distance)} <small>{whatItMeans(distance, found.bits)}</small>
        </p>
        {isBeyond && <p class="remark">No nearer than an unrelated chip: beyond {number(found.chance!)} bits it is chance.</p>}
        <dl class="facts">
          <dt>Rank</dt><dd>{number(at + 1)}</dd>
          <dt>Date</dt><dd>{day(found.times[at] ?? null)}</dd>
          <dt>Place</dt><dd>{placeOf(box)}</dd>
          <dt>Collection</dt><dd>{found.collections[at] || "without a name"}</dd>
          <dt>Chip id</dt><dd><code>{id}</code></dd>
        </dl>
        <Labels id={id} />
        <div class="actions">
          <button class="primary" onClick={() => { close(); searchFrom(id); }}>
            <Icon name="search" /> Search from here
          </button>
          {box && !isNarrow.value && (
            <button onClick={() => { close(); const [lng, lat] = centreOf(box); theWorld()?.map.jumpTo({ center: [lng, lat], zoom: Math.max(theWorld()!.map.getZoom(), 5) }); }}>
              Show on the map
            </button>
          )}
        </div>
        {place.value && place.value.behind.length > 0 && (
          <p class="hint">{counted(place.value.behind.length, "more chip")} of this place in the answer.</p>
        )}
      </div>
      <Dates id={id} />
    </div>
  );
}

/** Other dates of the place, with the number of bits that differ; one of them side by side with the chip. */
function Dates({ id }: { id: string }): JSX.Element | null {
  const [found, setFound] = useState<readonly ChipDate[]>([]);
  const [chosen, setChosen] = useState<ChipDate | null>(null);
  useEffect(() => {
    const controller = new AbortController();
    setChosen(null);
    setFound([]);
    askDates(id, query.peek(), controller.signal).then(setFound, () => undefined);
    return () => controller.abort();
  }, [id]);
  const others = found.filter((each) => each.id !== id);
  if (!others.length) return null;
  const self = found.find((each) => each.id === id);
  const [first, last] = chosen && self && (chosen.time ?? "") < (self.time ?? "") ? [chosen, self] : [self, chosen];
  return (
    <section class="dates-of-place" aria-label="Other dates of this place">
      <h3>{counted(others.length, "other date")} of this place</h3>
      <ul>
        {others.map((each) => (
          <li key={each.id}>
            <button class="date" aria-pressed={chosen?.id === each.id} onClick={() => setChosen(chosen?.id === each.id ? null : each)}>
              <Picture id={each.id} size={64} alt="" />
              <span>{day(each.time)}<br /><small>{counted(each.distance, "bit")} changed</small></span>
            </button>
          </li>
        ))}
      </ul>
      {first && last && <Swipe before={first.id} after={last.id} beforeName={day(first.time)} afterName={day(last.time)} />}
    </section>
  );
}

/** Say what the distance is of: one example, the mean of several, or the difference of those for and against. */
function whatItMeans(distance: number, bits: number): string {
  const { positive, negative, watch } = query.value;
  if (watch) return `${distance === 1 ? "bit" : "bits"} from the watch’s example`;
  if (negative.length) return "bits: how much farther from the examples for than from those against";
  return positive.length > 1 ? `bits differ on average, of ${number(bits)}` : `${distance === 1 ? "bit differs" : "bits differ"}, of ${number(bits)}`;
}

function Labels({ id }: { id: string }): JSX.Element {
  const as = labelOf(query.value, id);
  const choose = (chosen: Label): void => label(id, as === chosen ? "none" : chosen);
  return (
    <div class="actions">
      <button aria-pressed={as === "for"} class="for" onClick={() => choose("for")}>
        <Icon name="plus" /> More like this
      </button>
      <button aria-pressed={as === "against"} class="against" onClick={() => choose("against")}>
        <Icon name="minus" /> Less like this
      </button>
    </div>
  );
}
