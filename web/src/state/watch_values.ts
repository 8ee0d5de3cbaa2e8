// Plain values: a watch's hits as an answer, which grid, map and time line are drawn from; and a watch as a query.
import type { Answer } from "../api/search";
import type { Hit, Night, Watch } from "../api/watches";
import type { BBox, Geometry } from "../map/regions";
import { daysOf } from "../panels/periods";
import { EMPTY, type Query, type Region } from "./query";

/** Return hits, of which the newest night comes first, as an answer, nearest first. A chip that changed counts once. */
export function answerOf(watch: string, hits: readonly Hit[], nights: readonly Night[], isWhole: boolean): Answer {
  const newest = nights[0]?.publication;
  const last = new Map<string, Hit>();
  for (const hit of hits) if (!last.has(hit.id)) last.set(hit.id, hit);
  const sorted = [...last.values()].sort((a, b) => a.properties.distance - b.properties.distance);
  return {
    ids: sorted.map(({ id }) => id),
    distances: sorted.map(({ properties }) => properties.distance),
    boxes: sorted.map(({ bbox }) => (bbox ?? null) as BBox | null),
    times: sorted.map(({ properties }) => properties.datetime),
    collections: sorted.map(({ properties }) => properties.collection),
    partDistances: [],
    matched: sorted.length,
    ties: 0,
    chance: null,
    bits: 0,
    parts: [],
    snapshot: newest ?? 0,
    next: null,
    watched: {
      watch,
      nights,
      isWhole,
      fresh: nights.length > 1 ? sorted.filter(({ properties }) => properties.publication === newest).map(({ id }) => id) : [],
    },
  };
}

/** A watch as a query, and what of it the query can't hold. */
export interface Opened {
  readonly query: Query;
  readonly lost: readonly string[];
}

/** Return a watch as a query, or why it can't be one. `modelId`: of the codes that are served. */
export function asQuery(watch: Watch, modelId: string): Opened | { why: string } {
  const { example, filters } = watch;
  if (example.image) return { why: "Its example is a picture, which the page can’t open. Drop the picture here to search with it." };
  if (example.code && watch.model_id !== modelId) return { why: "Its example is a code of another model than the one that is served." };
  const days = daysIn(filters.datetime ?? "");
  const lost = [
    ...(watch.kind_weight === null ? [] : ["its own weight of kind"]),
    ...(days.isRounded ? ["times of day"] : []),
  ];
  const query: Query = {
    ...EMPTY,
    positive: example.chip_ids ?? [],
    code: example.code ?? "",
    compare: watch.compare,
    region: regionOf(filters),
    from: days.from,
    to: days.to,
    collections: filters.collections ?? [],
    minValid: filters.min_valid_fraction ?? 0,
    cutoff: watch.max_distance,
  };
  return { query, lost };
}

function regionOf({ bbox, intersects }: Watch["filters"]): Region | null {
  if (bbox) return { bbox };
  return intersects ? { geometry: intersects as unknown as Geometry } : null;
}

/** Return the first and the last day of an interval as the API takes it: years, months, days or times. */
function daysIn(interval: string): { from: string; to: string; isRounded: boolean } {
  const ends = interval.split("/");
  const day = (text: string, end: 0 | 1): string => (/^\d{4}(-\d\d)?$/.test(text) ? daysOf(text)[end] : /^\d/.test(text) ? text.slice(0, 10) : "");
  return { from: day(ends[0]!, 0), to: day(ends.at(-1)!, 1), isRounded: interval.includes("T") || interval.includes("t") };
}
