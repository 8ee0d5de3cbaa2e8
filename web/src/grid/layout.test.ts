import { expect, test } from "vitest";
import { layoutOf } from "./layout";

const COUNT = 10_000;

// the widest results are a phone's of 760 pixels, the highest those of an 8K screen
test.each([296, 384, 736])("at most 300 cards are in the document, %i pixels wide", (width) => {
  for (const height of [0, 400, 720, 2160, 4320]) {
    for (let scrolled = 0; scrolled < 500_000; scrolled += 997) {
      const { columns, first, last } = layoutOf(width, height, scrolled, COUNT);
      expect((last - first) * columns).toBeLessThanOrEqual(300);
    }
  }
});

test("what is in sight is in the document", () => {
  const { rowHeight, first, last } = layoutOf(384, 720, 5000, COUNT);
  expect(first * rowHeight).toBeLessThanOrEqual(5000);
  expect(last * rowHeight).toBeGreaterThanOrEqual(5720);
});

test("the last row is the end", () => {
  expect(layoutOf(384, 720, 0, 7)).toMatchObject({ columns: 3, first: 0, last: 3 });
});
