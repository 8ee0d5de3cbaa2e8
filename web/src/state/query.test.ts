import { describe, expect, test } from "vitest";
import { EMPTY, filterCount, fromHash, questionOf, toHash, type Query } from "./query";

const FULL: Query = {
  positive: ["a1", "b2"],
  negative: ["c3"],
  code: "",
  weights: "",
  compare: "kind",
  region: { geometry: { type: "Polygon", coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] } },
  from: "2024-01-01",
  to: "2024-12-31",
  collections: ["naip, west", "s2"],
  minValid: 0.9,
  most: 200,
  cutoff: 12,
  snapshot: 41,
  watch: "harbours",
  night: 12,
};

describe("the address", () => {
  test("holds the whole query", () => {
    expect(fromHash(`#${toHash(FULL)}`)).toEqual(FULL);
    expect(fromHash(toHash({ ...EMPTY, code: "00ff", weights: "88" }))).toEqual({ ...EMPTY, code: "00ff", weights: "88" });
    expect(fromHash(toHash({ ...EMPTY, region: { bbox: [170, -10, -170, 10] } })).region).toEqual({ bbox: [170, -10, -170, 10] });
  });
  test("is empty for an empty query", () => {
    expect(toHash(EMPTY)).toBe("");
    expect(fromHash("")).toEqual(EMPTY);
  });
  test.each(["cutoff=x&snapshot=", "most=1e9&valid=-3", "bbox=1,2,3", "area={", "compare=all", "cutoff=-3", "code=xyz", "from=yesterday", "watch=../secret&night=-1"])(
    "that was edited by hand gives a query that can be asked: %s",
    (hash) => {
      const query = fromHash(hash);
      expect(query.most).toBeGreaterThanOrEqual(1);
      expect(query.most).toBeLessThanOrEqual(10_000);
      expect(query.minValid).toBe(0);
      expect({ ...query, most: EMPTY.most }).toEqual(EMPTY);
    },
  );
});

test("a question is what the API takes", () => {
  expect(questionOf(FULL)).toEqual({
    chip_ids: ["a1", "b2"],
    negative_ids: ["c3"],
    compare: "kind",
    intersects: { type: "Polygon", coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] },
    datetime: "2024-01-01/2024-12-31",
    collections: ["naip, west", "s2"],
    min_valid_fraction: 0.9,
    snapshot: 41,
  });
  expect(questionOf({ ...EMPTY, code: "00ff", weights: "88", to: "2024-12-31" })).toEqual({
    code: "00ff",
    bit_weights: "88",
    compare: "both",
    datetime: "../2024-12-31",
  });
  expect(filterCount(FULL)).toBe(4);
});
