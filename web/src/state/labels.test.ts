import { expect, test } from "vitest";
import { allLabelled, isFull } from "./labels";
import { EMPTY } from "./query";

test("an area moves chips from the other examples", () => {
  const { query, taken } = allLabelled({ ...EMPTY, positive: ["a", "b"], negative: ["c"] }, ["b", "d"], "against");
  expect([query.positive, query.negative, taken]).toEqual([["a"], ["c", "b", "d"], 2]);
});

test("of too many chips the first become examples", () => {
  const ids = Array.from({ length: 120 }, (_, place) => `x${place}`);
  const { query, taken } = allLabelled({ ...EMPTY, positive: ["a"] }, ids, "for");
  expect([query.positive.length, taken]).toEqual([100, 99]);
  expect(query.positive.at(-1)).toBe("x98");
  expect(isFull(query, "for")).toBe(true);
  const overfull = { ...EMPTY, positive: ids };
  expect(allLabelled(overfull, ["y"], "for")).toEqual({ query: overfull, taken: 0 });
});
