// What is asked of the archive as a whole: where chips lie, which collections there are, other dates, changes, heat.
import { filtersOf, questionOf, type Query } from "../state/query";
import type { BBox } from "../map/regions";
import { SERVICE, send } from "./client";

async function get<Data>(path: string, signal?: AbortSignal): Promise<Data> {
  return (await (await send(new Request(`${SERVICE}${path}`, signal ? { signal } : {}))).json()) as Data;
}

async function post<Data>(path: string, body: object, signal: AbortSignal): Promise<Data> {
  const headers = { "Content-Type": "application/json" };
  return (await (await send(new Request(`${SERVICE}${path}`, { method: "POST", body: JSON.stringify(body), headers, signal }))).json()) as Data;
}

export interface Coverage {
  readonly chips: number;
  readonly without_place: number;
  readonly cell_degrees: number;
  readonly cells: { readonly x: number[]; readonly y: number[]; readonly count: number[] };
}

/** Return how many chips lie in each cell of the world. */
export const askCoverage = (): Promise<Coverage> => get("/v1/coverage?width=512&height=256");

interface Collections {
  readonly collections: { readonly id: string; readonly chips: number }[];
}

/** Return the collections, and how many chips each has. */
export const askCollections = async (): Promise<Collections["collections"]> => (await get<Collections>("/v1/collections")).collections;

export interface Heat {
  readonly view: BBox;
  readonly width: number;
  readonly height: number;
  readonly cells: { readonly index: number[]; readonly count: number[]; readonly distance: number[] };
  readonly in_view: number;
  readonly matched: number;
  readonly histogram: { readonly first: number; readonly counts: number[] };
}

/** Return how many chips of the whole table lie at each distance, and in each cell of a view those within the cutoff. */
export function askHeat(query: Query, view: BBox, width: number, height: number, within: number | null, signal: AbortSignal): Promise<Heat> {
  const limit = within === null ? {} : { max_distance: Math.floor(within) };
  return post("/v1/search/grid", { ...questionOf(query), view, width, height, ...limit }, signal);
}

export interface ChipDate {
  readonly id: string;
  readonly bbox?: BBox;
  readonly properties: { readonly datetime: string | null; readonly collection: string; readonly distance: number };
}

/** Return the chips of other scenes at a chip's place, and itself, in the order of time. */
export async function askDates(id: string, snapshot: number | null, signal: AbortSignal): Promise<readonly ChipDate[]> {
  const of = snapshot === null ? "" : `?snapshot=${snapshot}`;
  return (await get<{ features: ChipDate[] }>(`/v1/chips/${encodeURIComponent(id)}/dates${of}`, signal)).features;
}

export interface Change {
  readonly bbox?: BBox;
  readonly properties: {
    readonly rank: number;
    readonly before: string;
    readonly after: string;
    readonly distance: number;
    readonly before_datetime: string | null;
    readonly after_datetime: string | null;
    readonly collection: string;
  };
}

export interface Changes {
  readonly numberMatched: number;
  readonly features: readonly Change[];
}

/** Return the places whose chips of two dates differ most, under the filters of a query. */
export function askChanges(query: Query, before: string, after: string, view: BBox | null, signal: AbortSignal): Promise<Changes> {
  const filters = filtersOf(query);
  const where = filters.bbox || filters.intersects || !view ? {} : { bbox: view };
  const snapshot = query.snapshot === null ? {} : { snapshot: query.snapshot };
  const intervals = { ...(before ? { before } : {}), ...(after ? { after } : {}) };
  return post("/v1/changes", { ...filters, ...where, ...intervals, ...snapshot, compare: query.compare, k: 60 }, signal);
}
