// A query, as plain values; the same as text in the page's address; and as the body of a request.
import type { BBox, Geometry } from "../map/regions";

export type Compare = "both" | "kind" | "look";
export type Region = { bbox: BBox } | { geometry: Geometry };

/** Most examples for, and most against, that the service takes. */
export const MOST_EXAMPLES = 100;

export interface Query {
  /** Ids of the examples that answers should be like. */
  readonly positive: readonly string[];
  /** Ids of the examples that answers should be unlike. */
  readonly negative: readonly string[];
  /** A code in hex digits, typed or of a picture, in place of examples; and the weights of its bits. */
  readonly code: string;
  readonly weights: string;
  readonly compare: Compare;
  readonly region: Region | null;
  /** First and last day, as 2024-05-31, or "". */
  readonly from: string;
  readonly to: string;
  readonly collections: readonly string[];
  /** Smallest share of valid pixels, 0..1. */
  readonly minValid: number;
  /** How many of the nearest chips are asked for. */
  readonly most: number;
  /** Greatest distance that is shown, in bits. */
  readonly cutoff: number | null;
  /** The version of the table that answers. */
  readonly snapshot: number | null;
  /** Name of the watch whose hits are shown in place of the query's answer, or ""; and of which publication. */
  readonly watch: string;
  readonly night: number | null;
}

export const EMPTY: Query = {
  positive: [],
  negative: [],
  code: "",
  weights: "",
  compare: "both",
  region: null,
  from: "",
  to: "",
  collections: [],
  minValid: 0,
  most: 1000,
  cutoff: null,
  snapshot: null,
  watch: "",
  night: null,
};

/** Whether there is something to search for. */
export const hasExample = (query: Query): boolean => query.positive.length > 0 || query.code !== "";

/** Whether there is something to show: an answer to the query, or a watch's hits. */
export const asksForSomething = (query: Query): boolean => hasExample(query) || query.watch !== "";

/** How many filters narrow a query. */
export function filterCount(query: Query): number {
  const given = [query.region, query.from || query.to, query.collections.length, query.minValid];
  return given.filter(Boolean).length;
}

/** Return the query as the part of the address behind #. It is never sent to the service. */
export function toHash(query: Query): string {
  const values = new URLSearchParams();
  const set = (name: string, value: string): void => {
    if (value) values.set(name, value);
  };
  set("for", query.positive.join(","));
  set("against", query.negative.join(","));
  set("code", query.code);
  set("weights", query.weights);
  if (query.compare !== EMPTY.compare) set("compare", query.compare);
  if (query.region && "bbox" in query.region) set("bbox", query.region.bbox.join(","));
  if (query.region && "geometry" in query.region) set("area", JSON.stringify(query.region.geometry));
  set("from", query.from);
  set("to", query.to);
  for (const each of query.collections) values.append("collection", each);
  if (query.minValid) set("valid", String(query.minValid));
  if (query.most !== EMPTY.most) set("most", String(query.most));
  if (query.cutoff !== null) set("cutoff", String(query.cutoff));
  if (query.snapshot !== null) set("snapshot", String(query.snapshot));
  set("watch", query.watch);
  if (query.night !== null) set("night", String(query.night));
  return values.toString();
}

/** Return the query of an address. What makes no sense in it is left out: people edit addresses. */
export function fromHash(hash: string): Query {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const list = (name: string): string[] => (values.get(name) ?? "").split(",").filter(Boolean);
  const number = (name: string): number | null => {
    const text = values.get(name);
    return text !== null && text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : null;
  };
  const compare = values.get("compare");
  const cutoff = number("cutoff");
  return {
    positive: list("for"),
    negative: list("against"),
    code: /^([0-9a-f]{2})+$/i.test(values.get("code") ?? "") ? (values.get("code") ?? "") : "",
    weights: /^[0-9a-f]+$/i.test(values.get("weights") ?? "") ? (values.get("weights") ?? "") : "",
    compare: compare === "kind" || compare === "look" ? compare : "both",
    region: regionOf(values),
    from: dayOf(values.get("from")),
    to: dayOf(values.get("to")),
    collections: values.getAll("collection"),
    minValid: Math.min(Math.max(number("valid") ?? 0, 0), 1),
    most: Math.min(Math.max(Math.round(number("most") ?? EMPTY.most), 1), 10_000),
    cutoff: cutoff !== null && (cutoff >= 0 || values.has("against")) ? Math.floor(cutoff) : null,
    snapshot: number("snapshot"),
    watch: /^[a-z0-9][a-z0-9_-]{0,63}$/.test(values.get("watch") ?? "") ? (values.get("watch") ?? "") : "",
    night: /^\d{1,9}$/.test(values.get("night") ?? "") ? number("night") : null,
  };
}

function regionOf(values: URLSearchParams): Region | null {
  const bbox = (values.get("bbox") ?? "").split(",").map(Number);
  if (bbox.length === 4 && bbox.every(Number.isFinite)) return { bbox: bbox as unknown as BBox };
  try {
    const geometry: unknown = JSON.parse(values.get("area") ?? "null");
    return geometry && typeof geometry === "object" ? { geometry: geometry as Geometry } : null;
  } catch {
    return null;
  }
}

const dayOf = (text: string | null): string => (/^\d{4}-\d\d-\d\d$/.test(text ?? "") ? (text ?? "") : "");

/** The filters as the API names them. */
export interface Filters {
  bbox?: [number, number, number, number];
  intersects?: { type: string; coordinates: unknown };
  datetime?: string;
  collections?: string[];
  min_valid_fraction?: number;
}

/** Return the filters of a query as the API takes them. */
export function filtersOf(query: Query): Filters {
  const filters: Filters = {};
  if (query.region && "bbox" in query.region) filters.bbox = [...query.region.bbox];
  if (query.region && "geometry" in query.region) {
    filters.intersects = { type: query.region.geometry.type, coordinates: query.region.geometry.coordinates };
  }
  if (query.from || query.to) filters.datetime = `${query.from || ".."}/${query.to || ".."}`;
  if (query.collections.length) filters.collections = [...query.collections];
  if (query.minValid) filters.min_valid_fraction = query.minValid;
  return filters;
}

/** A search without its limits, as the API takes it. */
export interface Question extends Filters {
  chip_ids?: string[];
  negative_ids?: string[];
  code?: string;
  bit_weights?: string;
  compare: Compare;
  snapshot?: number;
}

/** Return what a query asks, as the API takes it. */
export function questionOf(query: Query): Question {
  const question: Question = { compare: query.compare, ...filtersOf(query) };
  if (query.positive.length) {
    question.chip_ids = [...query.positive];
    if (query.negative.length) question.negative_ids = [...query.negative];
  } else {
    question.code = query.code;
    if (query.weights) question.bit_weights = query.weights;
  }
  if (query.snapshot !== null) question.snapshot = query.snapshot;
  return question;
}

/** Most chips of an answer to a search for the nearest, and of a page. */
export const LARGEST_PAGE = 10_000;

/** Return the limit of a query as the API takes it. Only examples against lead to a radius below 0. */
export function limitsOf(query: Query): { k: number } | { max_distance: number } {
  if (query.cutoff === null) return { k: query.most };
  return { max_distance: Math.floor(query.cutoff) };
}
