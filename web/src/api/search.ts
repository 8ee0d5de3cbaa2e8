// Searches, as columns: what grid, map and histogram are drawn from.
import { questionOf, type Query } from "../state/query";
import type { BBox } from "../map/regions";
import { ApiError, api, dataOf } from "./client";

/** An answer, nearest first: the same place in each array is the same chip. */
export interface Answer {
  readonly ids: readonly string[];
  readonly distances: readonly number[];
  readonly boxes: readonly (BBox | null)[];
  readonly times: readonly (string | null)[];
  readonly collections: readonly string[];
  /** Chips on all pages. */
  readonly matched: number;
  /** Chips as near as the last one that were left out. */
  readonly ties: number;
  /** Within this distance an unrelated chip lies with probability .01; null if that isn't known. */
  readonly chance: number | null;
  readonly bits: number;
  /** The parts of the codes, in the order of their bits, and what a bit of each counts. */
  readonly parts: readonly { readonly name: string; readonly bits: number; readonly weight: number }[];
  readonly compared: number;
  readonly tookMs: number;
  readonly snapshot: number;
  readonly modelId: string;
  /** What to ask for the next page, if there is one. */
  readonly next: string | null;
}

const LARGEST_PAGE = 10_000;

/** Return the limit of a query as the API takes it. It takes no radius below 0, which only examples against lead to. */
export function limitsOf(query: Query): { k: number } | { max_distance: number } {
  if (query.cutoff === null) return { k: query.most };
  return query.cutoff < 0 ? { k: LARGEST_PAGE } : { max_distance: Math.floor(query.cutoff) };
}

/** Search. With a cutoff: all within it, page by page; without: the nearest `query.most`. */
export async function search(query: Query, signal: AbortSignal, token: string | null = null): Promise<Answer> {
  const limits = { ...limitsOf(query), limit: query.cutoff === null ? LARGEST_PAGE : query.most };
  const body = { ...questionOf(query), ...limits, ...(token ? { token } : {}) };
  const answer = dataOf(await api.POST("/v1/search", { body: body as never, signal }));
  const features = answer.features;
  return {
    ids: features.map((each) => each.id),
    distances: features.map((each) => each.properties.distance),
    boxes: features.map((each) => (each.bbox ?? null) as BBox | null),
    times: features.map((each) => each.properties.datetime),
    collections: features.map((each) => each.properties.collection),
    matched: answer.numberMatched,
    ties: answer.search.ties_at_cutoff,
    chance: answer.search.chance_distance,
    bits: answer.search.bits,
    parts: answer.search.parts,
    compared: answer.search.codes_compared,
    tookMs: answer.search.took_ms,
    snapshot: answer.search.snapshot,
    modelId: answer.search.model_id,
    next: (answer.links?.[0]?.body["token"] as string | undefined) ?? null,
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
    next: more.next,
  };
}

/** Return the id of the chip that the service takes at a place. Throws `ApiError` (`no_chip_here`). */
export async function chipAt(longitude: number, latitude: number, snapshot: number | null): Promise<string> {
  // of the chips there with no distance to the one at the place, that one has the nearest centre, then the latest time
  const body = {
    point: [longitude, latitude],
    bbox: [longitude, latitude, longitude, latitude],
    max_distance: 0,
    exclude_self: false,
    ...(snapshot === null ? {} : { snapshot }),
  };
  const { features } = dataOf(await api.POST("/v1/search", { body: body as never }));
  const ranked = features
    .map((each) => ({ id: each.id, off: distanceToCentre(each.bbox as unknown as BBox, longitude, latitude), time: each.properties.datetime ?? "" }))
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
export async function encodePicture(picture: Blob): Promise<{ code: string; weights: string }> {
  const answer = await api.POST("/v1/encode", {
    body: picture as never,
    bodySerializer: (body: unknown) => body as Blob,
    headers: { "Content-Type": picture.type || "application/octet-stream" },
  });
  const { code, bit_weights } = dataOf(answer) as { code: string; bit_weights: string };
  return { code, weights: bit_weights };
}
