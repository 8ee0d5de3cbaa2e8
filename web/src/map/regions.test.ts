import { describe, expect, test } from "vitest";
import { geometryOf, nameOf, parseRegion, ringOf, wrapped } from "./regions";

/** Area in square degrees, by the shoelace formula, holes aside. */
function area(geometry: { type: string; coordinates: unknown }): number {
  const polygons = (geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates) as [number, number][][][];
  return polygons.reduce((sum, [ring]) => sum + Math.abs(ring!.slice(1).reduce((each, [x, y], place) => each + ring![place]![0] * y - x * ring![place]![1], 0)) / 2, 0);
}

describe("a drawn ring", () => {
  test("stays whole where it doesn't reach 180 degrees", () => {
    expect(geometryOf([[0, 0], [10, 0], [10, 10]]).type).toBe("Polygon");
  });
  test.each([
    [[[170, -10], [190, -10], [190, 10], [170, 10]]],
    [[[-190, -10], [-170, -10], [-170, 10], [-190, 10]]],
    [[[530, -10], [550, -10], [550, 10], [530, 10]]],
  ] as [[number, number][]][])("is cut at the antimeridian, and nothing of it is lost: %j", (ring) => {
    const geometry = geometryOf(ring);
    expect(geometry.type).toBe("MultiPolygon");
    expect(area(geometry)).toBeCloseTo(400);
    const positions = (geometry.coordinates as number[][][][]).flat(2);
    expect(positions.every(([x]) => Math.abs(x!) <= 180)).toBe(true);
    expect(new Set(positions.map(([x]) => Math.abs(x!)))).toEqual(new Set([170, 180]));
  });
  test("that isn't convex is cut into valid parts", () => {
    const geometry = geometryOf([[170, 0], [190, 0], [190, 3], [175, 3], [175, 6], [190, 6], [190, 9], [170, 9]]);
    expect((geometry.coordinates as unknown[]).length).toBe(3);
    expect(area(geometry)).toBeCloseTo(20 * 9 - 15 * 3);
  });
});

describe("a typed region", () => {
  test("is a box, also over the antimeridian", () => {
    expect(parseRegion("170,-10,-170,10")).toEqual({ bbox: [170, -10, -170, 10] });
    expect(parseRegion(" 170 -10 190 10 ")).toEqual({ bbox: [170, -10, -170, 10] });
  });
  test("is GeoJSON: a geometry, a feature, a collection of one", () => {
    const geometry = { type: "Polygon", coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] };
    const feature = { type: "Feature", properties: {}, geometry };
    for (const each of [geometry, feature, { type: "FeatureCollection", features: [feature] }]) {
      expect(parseRegion(JSON.stringify(each))).toEqual({ geometry });
    }
  });
  test("that goes on beyond 180 degrees gives what drawing it gives", () => {
    const ring: [number, number][] = [[170, -10], [190, -10], [190, 10], [170, 10]];
    const typed = JSON.stringify({ type: "Polygon", coordinates: [[...ring, ring[0]]] });
    expect(parseRegion(typed)).toEqual({ geometry: geometryOf(ring) });
  });
  test.each(["", "1,2,3", "0,10,1,-10", "0,-95,1,95", "{", '{"type":"FeatureCollection","features":[]}', '{"type":"Feature"}'])("that makes no sense says why: %s", (text) => {
    expect(() => parseRegion(text)).toThrow(/[.]$/);
  });
});

test("longitudes are wrapped, and boxes drawn on", () => {
  expect([wrapped(190), wrapped(-190), wrapped(180), wrapped(-180), wrapped(540)]).toEqual([-170, 170, 180, -180, -180]);
  expect(ringOf([170, 0, -170, 1]).map(([x]) => x)).toEqual([170, 190, 190, 170, 170]);
  expect(nameOf({ bbox: [-62.5, -3, 10, 4] })).toBe("3° S–4° N, 62.50° W–10° E");
});
