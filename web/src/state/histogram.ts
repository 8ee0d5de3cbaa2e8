// How many chips lie at each distance: over the whole table as soon as the service has counted, before that of what is loaded.
import { computed, signal } from "@preact/signals";
import { answer } from "./store";

export interface Counts {
  /** Distance of the first count, in bits. */
  readonly first: number;
  /** Chips whose distance, rounded up, is `first` + place. */
  readonly counts: readonly number[];
}

/** The counts of the whole table. */
export const wholeCounts = signal<Counts | null>(null);

/** Return the counts of ascending distances. */
export function countsOf(distances: readonly number[]): Counts {
  if (!distances.length) return { first: 0, counts: [] };
  const first = Math.ceil(distances[0]!);
  const counts = new Array<number>(Math.ceil(distances.at(-1)!) - first + 1).fill(0);
  for (const distance of distances) counts[Math.ceil(distance) - first]! += 1;
  return { first, counts };
}

export const histogram = computed<Counts | null>(() => {
  const found = answer.value;
  return wholeCounts.value ?? (found ? countsOf(found.distances) : null);
});
