import { expect, test } from "vitest";
import type { Answer } from "../api/search";
import { partsOf } from "./parts";

const answer = (weights: [number, number], distances: number[], kind: number[], look: number[]): Answer => ({
  ids: [],
  boxes: [],
  times: [],
  collections: [],
  matched: 0,
  ties: 0,
  chance: null,
  bits: 32,
  snapshot: 1,
  next: null,
  distances,
  parts: [
    { name: "kind", bits: 16, weight: weights[0] },
    { name: "look", bits: 16, weight: weights[1] },
  ],
  partDistances: [kind, look],
});

test("the parts make up the distance, with their weights", () => {
  expect(partsOf(answer([2, 1], [13, 4], [3, 2], [7, 0]), 0)).toBe("kind 3 × 2 + look 7");
  expect(partsOf(answer([2, 1], [13, 4], [3, 2], [7, 0]), 1)).toBe("kind 2 × 2 + look 0");
  expect(partsOf(answer([1, 1], [-1.5], [-2], [0.5]), 0)).toBe("kind −2 + look 0.5");
});

test("a part that isn't compared is named as such", () => {
  expect(partsOf(answer([1, 0], [3], [3], [7]), 0)).toBe("kind 3; look 7 isn’t compared");
});

test("where bits have weights of their own, the parts make up no sum", () => {
  expect(partsOf(answer([2, 1], [11.25], [3], [7]), 0)).toBe("Bits that differ: kind 3, look 7");
});

test("codes of one part have nothing to say", () => {
  expect(partsOf({ ...answer([1, 1], [3], [], []), parts: [{ name: "kind", bits: 32, weight: 1 }], partDistances: [] }, 0)).toBe("");
});
