// The archive as a whole, and the query's counts over all of it: exact, from the service, after each search.
import { effect, signal } from "@preact/signals";
import { askCollections, askCoverage, askHeat, type Coverage, type Heat } from "../api/archive";
import { isAborted } from "../api/client";
import { visibleBox } from "../map/view";
import { collections } from "./collections";
import { hasExample } from "./query";
import { wholeCounts } from "./histogram";
import { served } from "./served";
import { answer, query, shownQuery, tell } from "./store";

export const coverage = signal<Coverage | null>(null);
/** Whether the archive's cells are shown where there is no heat. */
export const showsCoverage = signal(true);
export const showsHeat = signal(false);
export const heat = signal<Heat | null>(null);
export const isHeating = signal(false);

const WORLD = [-180, -90, 180, 90] as const;
const HEAT_CELLS = [128, 64] as const;

/** Ask what the archive is like, now and when another version is served. */
export function followArchive(): void {
  effect(() => {
    if (served.value) askCollections().then((known) => (collections.value = known), () => undefined);
  });
  followCoverage();
  let counting = new AbortController();
  effect(() => {
    const found = answer.value;
    counting.abort();
    wholeCounts.value = null;
    if (!found || found.watched || !hasExample(query.peek())) return;
    counting = new AbortController();
    const asked = query.peek();
    // one cell: the histogram is of the whole table in any case
    askHeat(asked, WORLD, 1, 1, null, counting.signal).then(
      ({ histogram }) => (wholeCounts.value = histogram),
      () => undefined, // the counts of what is loaded stay
    );
  });
  followHeat();
}

function followCoverage(): void {
  let asking = new AbortController();
  effect(() => {
    const view = visibleBox.value;
    asking.abort();
    if (!served.value || !showsCoverage.value) return;
    asking = new AbortController();
    askCoverage(view, asking.signal).then(
      (cells) => (coverage.value = cells),
      () => undefined, // the map is of use without it
    );
  });
}

function followHeat(): void {
  let heating = new AbortController();
  effect(() => {
    const found = answer.value;
    const within = query.value.cutoff ?? found?.chance ?? found?.distances.at(-1) ?? null;
    const view = visibleBox.value;
    heating.abort();
    if (!showsHeat.value || !found || found.watched) {
      heat.value = null;
      isHeating.value = false;
      return;
    }
    heating = new AbortController();
    isHeating.value = true;
    askHeat(shownQuery.peek(), view, ...HEAT_CELLS, within, heating.signal).then(
      (map) => {
        heat.value = map;
        isHeating.value = false;
      },
      (error: unknown) => {
        if (isAborted(error)) return;
        showsHeat.value = false;
        tell(error); // the search has its answer
      },
    );
  });
}
