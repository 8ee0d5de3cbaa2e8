// Searches, as columns: what grid, map and histogram are drawn from.
import { LARGEST_PAGE, limitsOf, questionOf, type Query } from "../state/query";
import type { BBox } from "../map/regions";
import { ApiError, post, type Schemas } from "./client";

/** An answer, nearest first: the same place in each array is the same chip. */
export interface Answer {
  readonly ids: readonly string[];
  readonly distances: readonly number[];
  readonly boxes: readonly (BBox | null)[];
  readonly times: readonly (string | null)[];
  readonly collections: readonly string[];
  /** How many bits differ in each part of the codes, in the order of `parts`; empty if codes have one part. */
  readonly partDistances: readonly (readonly number[])[];
  /** Chips on all pages. */
  readonly matched: number;
  /** Chips as near as the last one that were left out. */
  readonly ties: number;
  /** Within this distance an unrelated chip lies with probability .01; null if that isn't known. */
  readonly chance: number | null;
  readonly bits: number;
  /** The parts of the codes, in the order of their bits, and what a bit of each counts. */
  readonly parts: readonly { readonly name: string; readonly bits: number; readonly weight: number }[];
  readonly snapshot: number;
  /** What to ask for the next page, if there is one. */
  readonly next: string | null;
  /** Only of a watch's hits. */
  readonly watched?: Watched;
}

/** Whose hits an answer has. */
export interface Watched {
  readonly watch: string;
  /** The publications that brought hits, the newest first; also those whose hits aren't shown. */
  readonly nights: readonly Schemas["NightOfHits"][];
  /** Whether all hits are there. */
  readonly isWhole: boolean;
  /** Ids of the hits of the newest publication, if there are others. */
  readonly fresh: readonly string[];
}

// of codes of one part there are no distances of parts
const COLUMNS = ["id", "distance", "bbox", "datetime", "collection", "kind_distance", "look_distance"];

/** Search. With a cutoff: all within it, page by page; without: the nearest `query.most`. */
export async function search(query: Query, signal: AbortSignal, token: string | null = null): Promise<Answer> {
  const limits = { ...limitsOf(query), limit: query.cutoff === null ? LARGEST_PAGE : query.most };
  const body = { ...questionOf(query), ...limits, format: "columns", fields: { include: COLUMNS }, ...(token ? { token } : {}) };
  const { columns, numberMatched, search: info, links } = await post<Schemas["ColumnsAnswer"]>("/v1/search", body, signal);
  return {
    ids: columns.id ?? [],
    distances: columns.distance ?? [],
    boxes: (columns.bbox ?? []) as (BBox | null)[],
    times: columns.datetime ?? [],
    collections: columns.collection ?? [],
    partDistances: info.parts.length > 1 ? info.parts.map(({ name }) => columns[`${name}_distance`] ?? []) : [],
    matched: numberMatched,
    ties: info.ties_at_cutoff,
    chance: info.chance_distance,
    bits: info.bits,
    parts: info.parts,
    snapshot: info.snapshot,
    next: (links?.[0]?.body["token"] as string | undefined) ?? null,
  };
}

/** Return an answer with its next page behind it. */
export function joined(first: Answer, more: Answer): Answer {
  return {
    ...first,
    ids: [...first.ids, ...more.ids],
    distances: [...first.distances, ...more.distances],
    boxes: [...first.boxes, ...more.boxes],
    times: [...first.times, ...more.times],
    collections: [...first.collections, ...more.collections],
    partDistances: first.partDistances.map((each, part) => [...each, ...more.partDistances[part]!]),
    next: more.next,
  };
}

/** Return the id of the chip that the service takes at a place. Throws `ApiError` (`no_chip_here`). */
export async function chipAt(longitude: number, latitude: number, snapshot: number | null, signal: AbortSignal): Promise<string> {
  // of the chips there with no distance to the one at the place, that one has the nearest centre, then the latest time
  const body = {
    point: [longitude, latitude],
    bbox: [longitude, latitude, longitude, latitude],
    max_distance: 0,
    exclude_self: false,
    ...(snapshot === null ? {} : { snapshot }),
  };
  const { columns } = await post<Schemas["ColumnsAnswer"]>("/v1/search", { ...body, format: "columns" }, signal);
  const ranked = (columns.id ?? [])
    .map((id, row) => ({ id, off: distanceToCentre(columns.bbox![row] as BBox, longitude, latitude), time: columns.datetime![row] ?? "" }))
    .sort((a, b) => a.off - b.off || (a.time < b.time ? 1 : a.time > b.time ? -1 : a.id < b.id ? -1 : 1));
  if (!ranked[0]) throw new ApiError(404, "no_chip_here", "There is no chip at this place.", "Click where the archive has imagery.");
  return ranked[0].id;
}

/** As `pipelines/serve/chip_at.py` measures it: in degrees of latitude. */
export function distanceToCentre([west, south, east, north]: BBox, longitude: number, latitude: number): number {
  const width = (((east - west) % 360) + 360) % 360;
  const off = ((((west + width / 2 - longitude + 180) % 360) + 360) % 360) - 180;
  return Math.hypot(off * Math.cos((latitude * Math.PI) / 180), (south + north) / 2 - latitude);
}

/** Return the code of a picture, and the weights of its bits. */
export async function encodePicture(picture: Blob, signal: AbortSignal): Promise<{ code: string; weights: string }> {
  const { code, bit_weights } = await post<Schemas["EncodeAnswer"]>("/v1/encode", picture, signal);
  return { code, weights: bit_weights };
}
