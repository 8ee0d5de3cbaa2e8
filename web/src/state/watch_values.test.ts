import { expect, test } from "vitest";
import type { Hit, Watch } from "../api/watches";
import { EMPTY } from "./query";
import { answerOf, asQuery } from "./watch_values";

const hit = (id: string, distance: number, publication: number): Hit => ({
  type: "Feature",
  id,
  geometry: null,
  ...(id === "nowhere" ? {} : { bbox: [1, 2, 3, 4] as [number, number, number, number] }),
  properties: {
    distance, publication, watch: "w", snapshot: 1, model_id: "m", encoded_at: "2026-01-01T00:00:00Z",
    datetime: null, collection: "s2", uri: "u", etag: "e", window: [0, 0, 1, 1],
  },
});
const NIGHTS = [{ publication: 7, written_at: "2026-01-07T00:00:00Z" }, { publication: 5, written_at: "2026-01-05T00:00:00Z" }];

test("hits of all nights are an answer, nearest first, and those of the newest night are new", () => {
  const found = answerOf("w", [hit("b", 2, 7), hit("changed", 3, 7), hit("changed", 1, 5), hit("nowhere", 0, 5)], NIGHTS, true);
  expect(found.ids).toEqual(["nowhere", "b", "changed"]);
  expect(found.distances).toEqual([0, 2, 3]);
  expect(found.boxes).toEqual([null, [1, 2, 3, 4], [1, 2, 3, 4]]);
  expect(found.matched).toBe(3);
  expect(found.watched).toEqual({ watch: "w", nights: NIGHTS, isWhole: true, fresh: ["b", "changed"] });
  expect(answerOf("w", [hit("b", 2, 7)], NIGHTS.slice(0, 1), true).watched?.fresh).toEqual([]);
});

const WATCH: Watch = {
  name: "w", notes: "", example: { chip_ids: ["a1", "b2"], code: null, image: null }, max_distance: 6, compare: "kind", kind_weight: null,
  filters: { bbox: [170, -10, -170, 10], datetime: "2024-02/..", collections: ["s2"], min_valid_fraction: 0.5 },
  created_at: "2026-01-01T00:00:00Z", ran_at: null, publication: 7, model_id: "m", hits: 3,
};

test("a watch is a query with its example, filters and distance", () => {
  expect(asQuery(WATCH, "other")).toEqual({
    query: {
      ...EMPTY, positive: ["a1", "b2"], compare: "kind", region: { bbox: [170, -10, -170, 10] }, from: "2024-02-01", to: "",
      collections: ["s2"], minValid: 0.5, cutoff: 6,
    },
    lost: [],
  });
  const area = { type: "Polygon" as const, coordinates: [] };
  const other: Watch = { ...WATCH, kind_weight: 3, filters: { intersects: area, datetime: "2024-02-03T12:00:00Z" } };
  expect(asQuery(other, "m")).toMatchObject({
    query: { region: { geometry: area }, from: "2024-02-03", to: "2024-02-03" },
    lost: ["its own weight of kind", "times of day"],
  });
});

test("a picture, and a code of another model, can't be a query", () => {
  const code: Watch = { ...WATCH, example: { chip_ids: [], code: "00ff" } };
  expect(asQuery(code, "m")).toMatchObject({ query: { code: "00ff", positive: [] } });
  expect(asQuery(code, "other")).toHaveProperty("why");
  expect(asQuery({ ...WATCH, example: { chip_ids: [], image: "w.1.image" } }, "m")).toHaveProperty("why");
});
