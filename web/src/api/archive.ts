// What is asked of the archive as a whole: where chips lie, which collections there are, other dates, changes, heat.
import { filtersOf, questionOf, type Query } from "../state/query";
import type { BBox } from "../map/regions";
import { get, post, type Schemas } from "./client";

export type Coverage = Schemas["CoverageAnswer"];
export type Heat = Schemas["GridAnswer"];
export type ChangesFound = Schemas["ChangeColumnsAnswer"];

/** Return how many chips lie in each cell of a view: cells of some pixels, so that they form areas. */
export const askCoverage = (view: BBox, signal: AbortSignal): Promise<Coverage> =>
  get(`/v1/coverage?width=128&height=64&bbox=${view.join(",")}`, signal);

/** Return the collections, and how many chips each has. */
export const askCollections = async (): Promise<Schemas["Collection"][]> => (await get<Schemas["CollectionsAnswer"]>("/v1/collections")).collections;

/** Return how many chips of the whole table lie at each distance, and in each cell of a view those within the cutoff. */
export function askHeat(query: Query, view: BBox, width: number, height: number, within: number | null, signal: AbortSignal): Promise<Heat> {
  const limit = within === null ? {} : { max_distance: Math.floor(within) };
  return post("/v1/search/grid", { ...questionOf(query), view, width, height, ...limit }, signal);
}

/** Return a chip's box; null if it has no place. */
export async function askPlace(id: string, snapshot: number | null): Promise<BBox | null> {
  const of = snapshot === null ? "" : `?snapshot=${snapshot}`;
  return ((await get<Schemas["Chip"]>(`/v1/chips/${encodeURIComponent(id)}${of}`)).bbox ?? null) as BBox | null;
}

/** A chip of a place, and how far its code is from another's. */
export interface ChipDate {
  readonly id: string;
  readonly time: string | null;
  readonly distance: number;
}

/** Return the chips of other scenes at a chip's place, and itself, in the order of time. */
export async function askDates(id: string, query: Query, signal: AbortSignal): Promise<readonly ChipDate[]> {
  const of = query.snapshot === null ? "" : `&snapshot=${query.snapshot}`;
  const path = `/v1/chips/${encodeURIComponent(id)}/dates?format=columns&compare=${query.compare}${of}`;
  const { columns } = await get<Schemas["ChipColumnsAnswer"]>(path, signal);
  return (columns.id ?? []).map((each, row) => ({ id: each, time: columns.datetime![row] ?? null, distance: columns.distance![row]! }));
}

/** Two chips of one place and two dates. */
export interface Change {
  readonly before: string;
  readonly after: string;
  readonly beforeTime: string | null;
  readonly afterTime: string | null;
  readonly distance: number;
  readonly box: BBox | null;
}

export interface Changes {
  readonly matched: number;
  readonly pairs: readonly Change[];
}

/** Return the places whose chips of two dates differ most, under the filters of a query. */
export async function askChanges(query: Query, before: string, after: string, view: BBox | null, signal: AbortSignal): Promise<Changes> {
  const filters = filtersOf(query);
  const where = filters.bbox || filters.intersects || !view ? {} : { bbox: view };
  const snapshot = query.snapshot === null ? {} : { snapshot: query.snapshot };
  const intervals = { ...(before ? { before } : {}), ...(after ? { after } : {}) };
  const body = { ...filters, ...where, ...intervals, ...snapshot, compare: query.compare, k: 60, format: "columns" };
  const { columns, numberMatched } = await post<ChangesFound>("/v1/changes", body, signal);
  const pairs = (columns.before ?? []).map((each, row) => ({
    before: each,
    after: columns.after![row]!,
    beforeTime: columns.before_datetime![row] ?? null,
    afterTime: columns.after_datetime![row] ?? null,
    distance: columns.distance![row]!,
    box: (columns.bbox![row] ?? null) as BBox | null,
  }));
  return { matched: numberMatched, pairs };
}
