import { describe, expect, test } from "vitest";
import { parseFind } from "./find";
import { rangeEnd } from "./histogram_range";
import { chosenDays, daysOf, periodsOf } from "./periods";

describe("what is typed to look for", () => {
  test.each([
    ["-3.1, -62.2", [-62.2, -3.1]],
    ["-3.1 -62.2", [-62.2, -3.1]],
    ["3.1 S, 62.2 W", [-62.2, -3.1]],
    ["62.2W; 3.1S", [-62.2, -3.1]],
    ["45°N, 9°E", [9, 45]],
  ])("%s is a place", (text, place) => expect(parseFind(text)).toEqual({ place }));
  test("an id and a code", () => {
    expect(parseFind("0123456789ABCDEF01234567")).toEqual({ id: "0123456789abcdef01234567" });
    expect(parseFind("00ff00ff")).toEqual({ code: "00ff00ff" });
  });
  test.each(["", "nowhere", "1", "1,2,3", "95, 10", "10, 190", "a, b"])("%s says what to write", (text) => {
    expect(parseFind(text)).toHaveProperty("why");
  });
});

test("periods are months, or years where there are many", () => {
  expect(periodsOf(["2024-11-03T00:00:00Z", null, "2025-01-09T00:00:00Z"], 3)).toEqual([
    { name: "2024-11", count: 1 },
    { name: "2024-12", count: 0 },
    { name: "2025-01", count: 1 },
  ]);
  expect(periodsOf(["1990-11-03T00:00:00Z", "2025-01-09T00:00:00Z"], 2)).toHaveLength(36);
  expect(periodsOf([null], 1)).toEqual([]);
  expect(chosenDays([{ name: "2023-12", count: 1 }, { name: "2024-01", count: 0 }, { name: "2024-02", count: 3 }])).toEqual(["2023-12-01", "2024-02-29"]);
  expect([daysOf("2024-02"), daysOf("2023")]).toEqual([["2024-02-01", "2024-02-29"], ["2023-01-01", "2023-12-31"]]);
});

test("the histogram shows somewhat more than what is shown", () => {
  expect(rangeEnd(0, 300, 0, 40, 50, null)).toBe(60);
  expect(rangeEnd(0, 45, 0, 40, 50, null)).toBe(44);
  expect(rangeEnd(10, 1, 10, 10, null, null)).toBe(18);
});
