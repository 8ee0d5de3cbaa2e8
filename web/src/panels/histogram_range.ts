// Which distances the histogram shows.

/** Return the last distance of the plot: somewhat beyond what is shown and beyond chance, where something can be chosen. */
export function rangeEnd(first: number, length: number, nearest: number, farthest: number, chance: number | null, cutoff: number | null): number {
  const wanted = Math.max(farthest, chance ?? 0, cutoff ?? 0, nearest + 8);
  const beyond = Math.ceil(wanted + Math.max(4, (wanted - first) * 0.2));
  return Math.max(first + 8, Math.min(first + length - 1, beyond));
}
