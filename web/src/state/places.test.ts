import { expect, test } from "vitest";
import type { BBox } from "../map/regions";
import { placesOf, rowsIn } from "./places";

/** The same by comparing each chip with each place. */
function slowly(boxes: (BBox | null)[]): number[] {
  const kept: number[] = [];
  boxes.forEach((box, row) => {
    const isNew = !box || !kept.some((each) => {
      const other = boxes[each];
      const width = (b: BBox): number => (b[0] > b[2] ? b[2] + 360 - b[0] : b[2] - b[0]);
      if (!other) return false;
      const dx = other[0] + width(other) / 2 - box[0] - width(box) / 2;
      const dy = (other[1] + other[3] - box[1] - box[3]) / 2;
      return Math.abs(dx) < width(other) / 2 && Math.abs(dy) < (other[3] - other[1]) / 2;
    });
    if (isNew) kept.push(row);
  });
  return kept;
}

test("the nearest of chips that overlap stands for the place", () => {
  const here: BBox = [0, 0, 1, 1];
  const places = placesOf([here, [0.1, 0, 1.1, 1], [1, 0, 2, 1], null, null, here], 6);
  expect(places).toEqual([
    { row: 0, behind: [1, 5] },
    { row: 2, behind: [] },
    { row: 3, behind: [] },
    { row: 4, behind: [] },
  ]);
  expect(placesOf([here, here], 1)).toEqual([{ row: 0, behind: [] }]);
});

test("as comparing all with all finds", () => {
  let state = 7;
  const random = (): number => (state = (state * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 30; round++) {
    const boxes = Array.from({ length: 80 }, (): BBox | null => {
      if (random() < 0.05) return null;
      const [x, y, size] = [random() * 6 - 3, random() * 6 - 3, 0.1 + random() * 1.5];
      return [x, y, x + size, y + size];
    });
    expect(placesOf(boxes, boxes.length).map(({ row }) => row)).toEqual(slowly(boxes));
  }
});

const somewhere: (BBox | null)[] = [[0, 0, 2, 2], null, [179, 0, -179, 2], [-179.5, 0, -178.5, 2]];

test("an area has the boxes whose middle lies in it", () => {
  expect(rowsIn([1, 1, 5, 5], somewhere)).toEqual([0]);
  expect(rowsIn([1.1, 0, 5, 5], somewhere)).toEqual([]);
});

test("an area may lie over the antimeridian", () => {
  expect(rowsIn([178, 0, -179.5, 2], somewhere)).toEqual([2]);
  expect(rowsIn([178, 0, -178, 2], somewhere)).toEqual([2, 3]);
  expect(rowsIn([-180, -90, 180, 90], somewhere)).toEqual([0, 2, 3]);
});
