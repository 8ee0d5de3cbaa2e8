import { describe, expect, test } from "vitest";
import { asShown, EMPTY, filterCount, fromHash, limitsOf, questionOf, toHash, type Query } from "./query";

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
  test.each(["cutoff=x&snapshot=", "most=1e9&valid=-3", "bbox=1,2,3", "area={", "compare=all", "code=xyz", "from=yesterday", "watch=../secret&night=-1"])(
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

describe("what a page shows as a query", () => {
  const cut = (cutoff: number | null): Query => ({ ...EMPTY, positive: ["a1"], cutoff });
  test("a radius in whole bits stays one", () => {
    for (const cutoff of [null, 0, 12]) expect(asShown(cut(cutoff), 5, 9)).toEqual(cut(cutoff));
  });
  test("below 0 and between whole bits it is the number of chips", () => {
    for (const cutoff of [-58, -0.5, 3.5]) expect(limitsOf(asShown(cut(cutoff), 221, 1510))).toEqual({ k: 221 });
  });
  test("of what isn't loaded no number is known", () => expect(asShown(cut(-58), 9, 9)).toEqual(cut(-58)));
});
