import { expect, test } from "vitest";
import { coverageCells } from "./coverage";

const coverage = (x: number[], y: number[], count: number[]) => ({ snapshot: 1, chips: 0, without_place: 0, cell_degrees: 10, cells: { x, y, count } });

test("neighbours that look alike are one box, and no other cells are", () => {
  const boxes = coverageCells(coverage([0, 1, 2, 3, 5, 6, 6], [4, 4, 4, 4, 4, 4, 5], [1, 1, 10_000, 20_000, 1, 1, 1]));
  expect(boxes.map(({ bbox }) => bbox)).toEqual([
    [-180, -50, -160, -40], // two with one chip
    [-160, -50, -140, -40], // two that are full
    [-130, -50, -110, -40], // behind a cell without chips
    [-120, -40, -110, -30], // in the next row
  ]);
  expect(boxes[0]!.opacity).toBe(boxes[2]!.opacity);
  expect(boxes[1]!.opacity).toBeGreaterThan(3 * boxes[0]!.opacity);
});

test("each cell is in one box, which is as opaque as its chips say", () => {
  const [x, y, count]: [number[], number[], number[]] = [[], [], []];
  for (let cell = 0; cell < 400; cell++) {
    if ((cell * 7919) % 5 === 0) continue;
    x.push(cell % 36);
    y.push(Math.floor(cell / 36));
    count.push(10 ** ((cell * 31) % 3));
  }
  const found = new Map<string, number>();
  for (const { bbox: [west, south, east, north], opacity } of coverageCells(coverage(x, y, count))) {
    expect(north - south).toBe(10);
    for (let lon = west; lon < east; lon += 10) {
      const cell = `${(lon + 180) / 10},${(south + 90) / 10}`;
      expect(found.has(cell)).toBe(false);
      found.set(cell, opacity);
    }
  }
  const alone = (chips: number): number => coverageCells(coverage([0], [0], [chips]))[0]!.opacity;
  expect(found).toEqual(new Map(x.map((_, place) => [`${x[place]},${y[place]}`, alone(count[place]!)])));
});

test("one chip or nine look alike, ten don't", () => {
  const [few, many] = coverageCells(coverage([0, 1, 2], [0, 0, 0], [1, 9, 10]));
  expect([few!.bbox, many!.bbox]).toEqual([[-180, -90, -160, -80], [-160, -90, -150, -80]]);
  expect(many!.opacity).toBeGreaterThan(few!.opacity);
});

test("no cells, no boxes", () => expect(coverageCells(coverage([], [], []))).toEqual([]));
