// What the page shows, and what can be done to it. Panels read these signals and call these functions.
import { batch, computed, effect, signal } from "@preact/signals";
import { type Answer, chipAt, encodePicture, joined, search } from "../api/search";
import { ApiError, asApiError, isAborted } from "../api/client";
import { isFull, labelled, labelOf, type Label } from "./labels";
import { placesOf, type Place } from "./places";
import { askHits } from "../api/watches";
import { asksForSomething, EMPTY, fromHash, MOST_EXAMPLES, toHash, type Query } from "./query";
import { asksForKey } from "./session";

const LABEL_PAUSE_MS = 150;
/** The code of the failure of a search that was stopped. */
export const STOPPED = "stopped";

export const query = signal<Query>(fromHash(location.hash));
export const answer = signal<Answer | null>(null);
export const isSearching = signal(false);
export const failure = signal<ApiError | null>(null);
/** A line at the page's foot that goes away by itself: a text, or why something has failed. */
export const notice = signal<string | ApiError>("");
/** Row of the answer that has the focus, or the pointer over it; -1: none. */
export const focused = signal(-1);
export const hovered = signal(-1);
export const onePerPlace = signal(false);
/** Chips of this answer that the one before didn't have. */
export const fresh = signal<ReadonlySet<string>>(new Set());
/** The pictures that were taken as examples, by their codes, as addresses for an image. */
const pictures = new Map<string, string>();
/** Return the picture that a code is of, if one was taken. */
export const pictureOf = (code: string): string | undefined => pictures.get(code);
/** How many examples are being fetched, or read from a picture. */
export const preparing = signal(0);

const before: Query[] = [];
export const canUndo = signal(false);

/** How many rows of the answer lie within the cutoff. */
export const shown = computed(() => {
  const [found, cutoff] = [answer.value, query.value.cutoff];
  if (!found) return 0;
  return cutoff === null ? found.ids.length : countWithin(found.distances, cutoff);
});

/** What the grid has cards for. */
export const places = computed<readonly Place[]>(() => {
  const found = answer.value;
  if (!found) return [];
  if (onePerPlace.value) return placesOf(found.boxes, shown.value);
  return Array.from({ length: shown.value }, (_, row) => ({ row, behind: [] }));
});

/** Whether there is an answer to take along; the hits of a watch are files already. */
export const canExport = computed(() => answer.value !== null && !answer.value.watched && shown.value > 0);

/** Return how many of the distances, which ascend, are at most the cutoff. */
export function countWithin(distances: readonly number[], cutoff: number): number {
  let [low, high] = [0, distances.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (distances[middle]! <= cutoff) low = middle + 1;
    else high = middle;
  }
  return low;
}

let controller = new AbortController();
let paging = new AbortController();
let timer = 0;
/** The query that the answer is of. It differs from the query while a search runs, and after one that was stopped or failed. */
const answered = signal<Query>(EMPTY);
/** The query of what is shown: that of the answer, with the cutoff of now. */
export const shownQuery = computed<Query>(() => ({ ...answered.value, cutoff: query.value.cutoff }));

/** Whether a query is another one refined: the same examples, and some more or fewer. Only then something is new. */
export function isRefined(before: Query, now: Query): boolean {
  return now.positive.some((id) => before.positive.includes(id)) || (now.code !== "" && now.code === before.code);
}

/** Change the query, remember the one before, and search. What isn't about a watch leaves its hits. */
export function change(changes: Partial<Query>, pauseMs = 0): void {
  before.push(query.value);
  canUndo.value = true;
  query.value = { ...query.value, watch: "", night: null, ...changes };
  scheduleSearch(pauseMs);
}

/** Take the last change back. */
export function undo(): void {
  const last = before.pop();
  canUndo.value = before.length > 0;
  if (!last) return;
  query.value = last;
  scheduleSearch(0);
}

/** Go back from a watch's hits to the query that was there before. */
export function leaveWatch(): void {
  while (query.value.watch && before.length) query.value = before.pop()!;
  canUndo.value = before.length > 0;
  query.value = { ...query.value, watch: "", night: null };
  scheduleSearch(0);
}

function scheduleSearch(pauseMs: number): void {
  controller.abort();
  paging.abort();
  clearTimeout(timer);
  if (failure.value?.code === STOPPED) failure.value = null;
  // the hits of a watch are no answer to a query, nor to another watch
  if ((answer.value?.watched?.watch ?? "") !== query.value.watch) answer.value = null;
  if (!asksForSomething(query.value)) {
    batch(() => {
      answer.value = null;
      failure.value = null;
      isSearching.value = false;
    });
    return;
  }
  isSearching.value = true;
  timer = window.setTimeout(() => void run(), pauseMs);
}

/** Search again, as it is. */
export const searchAgain = (): void => scheduleSearch(0);

/** Give up the search that runs. An answer before it stays; the hits of a watch don't. */
export function stopSearching(): void {
  controller.abort();
  clearTimeout(timer);
  fail(new ApiError(0, STOPPED, "Nothing is lost: the query stays as it is.", ""));
}

async function run(): Promise<void> {
  controller = new AbortController();
  const { signal } = controller;
  const asked = query.value;
  const known = new Set(isRefined(answered.value, asked) ? (answer.value?.ids ?? []) : []);
  try {
    const found = await (asked.watch ? askHits(asked, signal) : search(asked, signal));
    batch(() => {
      answered.value = { ...asked, snapshot: found.snapshot };
      if (found.watched) fresh.value = new Set(found.watched.fresh);
      else fresh.value = known.size ? new Set(found.ids.filter((id) => !known.has(id))) : new Set();
      answer.value = found;
      failure.value = null;
      isSearching.value = false;
      focused.value = -1;
      if (query.value.snapshot === null && !found.watched) query.value = { ...query.value, snapshot: found.snapshot };
    });
  } catch (error) {
    if (!isAborted(error)) fail(error);
  }
}

/** Show why something has failed; a missing key is asked for. */
export function fail(error: unknown): void {
  const said = asApiError(error);
  batch(() => {
    isSearching.value = false;
    if (said.status === 401) asksForKey.value = true;
    else failure.value = said;
  });
}

/** Say for a moment why something has failed; a missing key is asked for. What the page itself gave up isn't said. */
export function tell(error: unknown): void {
  if (isAborted(error)) return;
  const said = asApiError(error);
  if (said.status === 401) asksForKey.value = true;
  else notice.value = said;
}

let isLoadingMore = false;

/** Load the next page of an answer that has one. */
export async function loadMore(): Promise<void> {
  const first = answer.value;
  if (!first?.next || isLoadingMore) return;
  isLoadingMore = true;
  paging = new AbortController();
  try {
    const more = await search(answered.value, paging.signal, first.next);
    if (answer.value === first) answer.value = joined(first, more);
  } catch (error) {
    if (!isAborted(error)) fail(error);
  } finally {
    isLoadingMore = false;
  }
}

export const FOR_FIRST = "Choose an example for first: examples against only push others away from it.";
export const TOO_MANY = `There can be ${MOST_EXAMPLES} examples of a kind at most: remove one first.`;
export const PICTURE_LEFT_OUT = "Chips are the examples now; the picture is left out.";
/** Make a chip an example for, against, or none, and search again. */
export function label(id: string, as: Label): void {
  if (labelOf(query.value, id) === as) return;
  const next = labelled(query.value, id, as);
  if (as === "against" && !next.positive.length) {
    notice.value = FOR_FIRST;
    return;
  }
  if (as !== "none" && isFull(query.value, as)) {
    notice.value = TOO_MANY;
    return;
  }
  if (query.value.code && next.positive.length) notice.value = PICTURE_LEFT_OUT;
  change(next, LABEL_PAUSE_MS);
}

/** Search from one chip, without the examples so far. */
export function searchFrom(id: string): void {
  change({ positive: [id], negative: [], code: "", weights: "", cutoff: null });
}

/** Take the chip at a place as an example. */
export async function takeAt(longitude: number, latitude: number, as: Take): Promise<void> {
  await prepared(as === "search", async (signal) => take(await chipAt(longitude, latitude, query.value.snapshot, signal), as));
}

/** What a chip is taken for: the one example of a new search, or one more. */
export type Take = "search" | "for" | "against";

/** Take a chip as an example. */
export function take(id: string, as: Take): void {
  if (as === "search") searchFrom(id);
  else label(id, as);
}

/** Take a picture as the example. */
export async function takePicture(picture: Blob): Promise<void> {
  await prepared(true, async (signal) => {
    const { code, weights } = await encodePicture(picture, signal);
    pictures.set(code, URL.createObjectURL(picture));
    change({ positive: [], negative: [], code, weights, cutoff: null });
  });
}

let preparation = new AbortController();

/** Give up all examples that are being fetched. */
export function stopPreparing(): void {
  preparation.abort();
  preparation = new AbortController();
}

/** Fetch an example; one that begins a new search takes the place of those that are still on their way. */
async function prepared(isNewSearch: boolean, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  if (isNewSearch) stopPreparing();
  preparing.value++;
  try {
    await work(preparation.signal);
  } catch (error) {
    tell(error);
  } finally {
    preparing.value--;
  }
}

/** Set the cutoff. What is loaded is cut at once; the service is asked where more lies within it than is loaded. */
export function setCutoff(cutoff: number | null): void {
  const found = answer.value;
  const last = found?.distances.at(-1) ?? -Infinity;
  query.value = { ...query.value, cutoff };
  const isWhole = found && (found.matched === found.ids.length && found.ties === 0 ? cutoff !== null && cutoff <= last : cutoff !== null && cutoff < last);
  if (!isWhole && !found?.watched) scheduleSearch(LABEL_PAUSE_MS);
}

/** Leave the snapshot of an address that isn't kept any more, and search what is served now. */
export function searchNewest(): void {
  query.value = { ...query.value, snapshot: null };
  scheduleSearch(0);
}

/** Begin anew. */
export function clear(): void {
  change({ ...EMPTY });
}

let written = location.hash;

/** Keep the address and the query the same, and search for what the address asks. */
export function start(): void {
  effect(() => {
    const hash = toHash(query.value);
    written = hash ? `#${hash}` : "";
    if (written !== location.hash) history.replaceState(null, "", written || location.pathname + location.search);
  });
  addEventListener("hashchange", () => {
    if (location.hash === written) return;
    query.value = fromHash(location.hash);
    scheduleSearch(0);
  });
  if (asksForSomething(query.value)) scheduleSearch(0);
}
