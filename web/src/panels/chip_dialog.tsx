// One chip: itself, its surroundings, why it matched, and what can be done from here.
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { askDates, type ChipDate } from "../api/archive";
import { Picture } from "../grid/picture";
import { labelOf, type Label } from "../state/labels";
import { answer, focused, label, places, query, searchFrom } from "../state/store";
import { theWorld } from "../map/map";
import type { BBox } from "../map/regions";
import { partsOf } from "../state/parts";
import { centreOf } from "../state/places";
import { isNarrow } from "../state/width";
import { Dialog } from "./dialog";
import { counted, day, number, placeOf } from "./format";
import { Icon } from "./icons";
import { Swipe } from "./swipe";

/** A chip as the answer had it when it was opened: a label set here makes another answer, perhaps without the chip. */
interface Opened {
  readonly id: string;
  readonly rank: number;
  readonly distance: number;
  readonly meaning: string;
  readonly why: string;
  /** Beyond this distance it is chance; null if it isn't beyond. */
  readonly chance: number | null;
  readonly time: string | null;
  readonly box: BBox | null;
  readonly collection: string;
  /** How many more chips of its place the answer had. */
  readonly behind: number;
}

const opened = signal<Opened | null>(null);
const close = (): void => {
  opened.value = null;
};

/** Open the dialog on a row of the answer. */
export function openChip(row: number): void {
  const found = answer.value!;
  const distance = found.distances[row]!;
  focused.value = row;
  opened.value = {
    id: found.ids[row]!,
    rank: row + 1,
    distance,
    meaning: whatItMeans(distance, found.bits),
    why: partsOf(found, row),
    chance: found.chance !== null && distance > found.chance ? found.chance : null,
    time: found.times[row] ?? null,
    box: found.boxes[row] ?? null,
    collection: found.collections[row] || "without a name",
    behind: places.value.find((each) => each.row === row)?.behind.length ?? 0,
  };
}

export function ChipDialog(): JSX.Element {
  const chip = opened.value;
  return (
    <Dialog title="One chip" isOpen={chip !== null} onClose={close} wide>
      {chip && <Body chip={chip} />}
    </Dialog>
  );
}

function Body({ chip }: { chip: Opened }): JSX.Element {
  const { id, box } = chip;
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
          {number(chip.distance)} <small>{chip.meaning}</small>
        </p>
        {chip.why && <p class="status">{chip.why}</p>}
        {chip.chance !== null && <p class="remark">No nearer than an unrelated chip: beyond {number(chip.chance)} bits it is chance.</p>}
        <dl class="facts">
          <dt>Rank</dt><dd>{number(chip.rank)}</dd>
          <dt>Date</dt><dd>{day(chip.time)}</dd>
          <dt>Place</dt><dd>{placeOf(box)}</dd>
          <dt>Collection</dt><dd>{chip.collection}</dd>
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
        {chip.behind > 0 && <p class="hint">{counted(chip.behind, "more chip")} of this place in the answer.</p>}
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
