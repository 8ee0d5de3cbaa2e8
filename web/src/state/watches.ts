// The watches that the service shows: their list, one's hits as the answer, one as a query.
import { effect, signal } from "@preact/signals";
import { askWatches, type Watch } from "../api/watches";
import { served } from "./served";
import { change, notice } from "./store";
import { asQuery } from "./watch_values";

export const watches = signal<readonly Watch[]>([]);

/** Ask which watches there are, now and when another version may be served. */
export function followWatches(): void {
  effect(() => {
    if (served.value) askWatches().then((found) => (watches.value = found.watches), () => undefined);
  });
}

/** Show the hits of a watch; `night`: those of one publication only. */
export function showHits(watch: string, night: number | null = null): void {
  change({ watch, night, cutoff: null });
}

/** Make a watch the query of the page. */
export function openAsQuery(watch: Watch): void {
  const opened = asQuery(watch, served.value?.modelId ?? "");
  if ("why" in opened) {
    notice.value = opened.why;
    return;
  }
  if (opened.lost.length) notice.value = `The query is the watch without ${opened.lost.join(" and ")}.`;
  change(opened.query);
}
