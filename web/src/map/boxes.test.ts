import { expect, test } from "vitest";
import type { Answer } from "../api/search";
import { Boxes } from "./boxes";
import { Footprints } from "./footprints";
import { placeOf } from "./mercator";
import type { BBox } from "./regions";

const WORLD = 512; // pixels: zoom 0
const box = (west: number, south: number, east: number, north: number): { bbox: BBox; value: number; opacity: number } => ({ bbox: [west, south, east, north], value: 0, opacity: 1 });

test("places are Web Mercator", () => {
  expect(placeOf(0, 0)).toEqual([0.5, 0.5]);
  const [x, y] = placeOf(180, 85.051129);
  expect(x).toBe(1);
  expect(y).toBeCloseTo(0, 6);
  expect(placeOf(-180, -90)[1]).toBeCloseTo(1, 6);
  // the other way to write it: y = asinh(tan(latitude)), on a sphere of 6,378,137 m (EPSG:3857)
  const half = Math.PI * 6378137;
  const berlin = placeOf(13.39967, 52.52);
  expect(berlin[0] * 2 * half - half).toBeCloseTo(13.39967 * (half / 180), 3);
  expect(half - berlin[1] * 2 * half).toBeCloseTo(6378137 * Math.asinh(Math.tan((52.52 * Math.PI) / 180)), 3);
});

test("the last of the boxes at a place is on top, and those before the first shown are not there", () => {
  const boxes = new Boxes("test", { below: 0, radius: 0 });
  boxes.fill([box(0, 0, 20, 20), box(10, 10, 30, 30), box(50, 0, 60, 10)]);
  expect(boxes.at(15, 15, WORLD)).toBe(1);
  expect(boxes.at(5, 5, WORLD)).toBe(0);
  expect(boxes.at(55, 5, WORLD)).toBe(2);
  expect(boxes.at(40, 5, WORLD)).toBe(-1);
  boxes.showFrom(1);
  expect(boxes.at(5, 5, WORLD)).toBe(-1);
  expect(boxes.at(15, 15, WORLD)).toBe(1);
  boxes.setVisible(false);
  expect(boxes.at(15, 15, WORLD)).toBe(-1);
});

test("a box over the antimeridian is found on both sides, in each copy of the world", () => {
  const boxes = new Boxes("test", { below: 0, radius: 0 });
  boxes.fill([box(175, -5, -175, 5)]);
  for (const longitude of [178, -178, 182, -182, 538]) expect(boxes.at(longitude, 0, WORLD)).toBe(0);
  for (const longitude of [170, -170, 0]) expect(boxes.at(longitude, 0, WORLD)).toBe(-1);
});

test("a box of less than some pixels is a dot of some pixels", () => {
  const boxes = new Boxes("test", { below: 7, radius: 4 });
  boxes.fill([box(0, 0, 0.1, 0.1)]);
  const pixel = 360 / WORLD; // degrees
  expect(boxes.at(3.9 * pixel, 0, WORLD)).toBe(0);
  expect(boxes.at(4.2 * pixel, 0, WORLD)).toBe(-1);
  expect(boxes.at(3 * pixel, 3 * pixel, WORLD)).toBe(-1);
  expect(boxes.at(0.11, 0.05, WORLD * 4096)).toBe(-1);
  expect(boxes.at(0.09, 0.05, WORLD * 4096)).toBe(0);
});

test("rows are found by place: the nearest on top, without those beyond what is shown or without a place", () => {
  const footprints = new Footprints();
  const map = { getZoom: () => 4 } as never;
  const boxes: (BBox | null)[] = [null, [0, 0, 10, 10], [5, 0, 15, 10], [30, 0, 40, 10]];
  footprints.show({ ids: ["a", "b", "c", "d"], distances: [1, 2, 3, 4], boxes } as unknown as Answer);
  expect([2, 7, 12, 35, 50].map((longitude) => footprints.rowAt(map, longitude, 5))).toEqual([1, 1, 2, 3, -1]);
  footprints.paint(2, 1, 2, false, "#000000");
  expect([2, 12, 35].map((longitude) => footprints.rowAt(map, longitude, 5))).toEqual([1, -1, -1]);
  footprints.paint(1, 1, 1, false, "#000000");
  expect(footprints.rowAt(map, 2, 5)).toBe(-1);
  footprints.show(null);
  expect(footprints.rowAt(map, 2, 5)).toBe(-1);
});
