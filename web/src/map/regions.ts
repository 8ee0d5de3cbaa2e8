// Regions as people type, drop and draw them, as the API takes them: longitudes within -180..180.
import polygonClipping, { type MultiPolygon, type Ring } from "polygon-clipping";

/** West, south, east, north in degrees; west > east: over the antimeridian. */
export type BBox = readonly [number, number, number, number];
export interface Geometry {
  readonly type: string;
  readonly coordinates: unknown;
}

const WORLDS = [-2, -1, 0, 1, 2]; // how many turns from the map's middle a shape may lie

/** Return a longitude within -180..180. */
export function wrapped(longitude: number): number {
  return longitude >= -180 && longitude <= 180 ? longitude : ((((longitude + 180) % 360) + 360) % 360) - 180;
}

/** Return the shape of a ring of positions, whose longitudes may go on beyond 180: cut there, and moved back. */
export function geometryOf(ring: readonly (readonly [number, number])[]): Geometry {
  const closed: Ring = [...ring, ring[0]!].map(([longitude, latitude]) => [
    longitude,
    Math.min(Math.max(latitude, -90), 90),
  ]);
  const pieces: MultiPolygon = WORLDS.flatMap((turn) => {
    const west = -180 + 360 * turn;
    const world: Ring = [[west, -90], [west + 360, -90], [west + 360, 90], [west, 90], [west, -90]];
    const inside = polygonClipping.intersection([closed], [world]);
    return inside.map((polygon) => polygon.map((each) => each.map(([x, y]): [number, number] => [rounded(x - 360 * turn), rounded(y)])));
  });
  return pieces.length === 1 ? { type: "Polygon", coordinates: pieces[0] } : { type: "MultiPolygon", coordinates: pieces };
}

const rounded = (degrees: number): number => Math.round(degrees * 1e6) / 1e6;

/** Return a region that was typed: "west,south,east,north", or GeoJSON. Throws an Error that says what is wrong. */
export function parseRegion(text: string): { bbox: BBox } | { geometry: Geometry } {
  const trimmed = text.trim();
  if (trimmed.startsWith("{")) return { geometry: geometryIn(trimmed) };
  const numbers = trimmed.split(/[\s,;]+/).map(Number);
  if (numbers.length !== 4 || !numbers.every(Number.isFinite)) {
    throw new Error("Write west, south, east, north in degrees, or paste GeoJSON.");
  }
  const [west, south, east, north] = numbers as [number, number, number, number];
  if (south > north) throw new Error("The second number is the southern edge; it lies north of the fourth.");
  if (Math.max(Math.abs(south), Math.abs(north)) > 90) throw new Error("Latitudes are from -90 to 90.");
  return { bbox: [wrapped(west), south, wrapped(east), north] };
}

function geometryIn(text: string): Geometry {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Error("That isn’t JSON: paste the whole GeoJSON file.");
  }
  let found = content as { type?: string; features?: unknown[]; geometry?: unknown; coordinates?: unknown };
  if (found.type === "FeatureCollection") {
    if (found.features?.length !== 1) throw new Error("The file must hold one feature: join them into one, or choose one.");
    found = found.features[0] as typeof found;
  }
  if (found.type === "Feature") found = found.geometry as typeof found;
  if (!found?.type || !found.coordinates) throw new Error("There is no GeoJSON geometry in it.");
  if (found.type === "Polygon") return polygonOf(found.coordinates as [number, number][][]);
  return { type: found.type, coordinates: found.coordinates };
}

/** A polygon that goes on beyond 180 degrees is cut there; any other stays as it is, with its holes. */
function polygonOf(rings: [number, number][][]): Geometry {
  const outer = rings[0] ?? [];
  const isBeyond = outer.some(([longitude]) => Math.abs(longitude) > 180);
  return isBeyond && rings.length === 1 ? geometryOf(outer.slice(0, -1)) : { type: "Polygon", coordinates: rings };
}

/** Return the box as a polygon for the map, whose longitudes may go on beyond 180. */
export function ringOf([west, south, east, north]: BBox): [number, number][] {
  const end = west > east ? east + 360 : east;
  return [[west, south], [end, south], [end, north], [west, north], [west, south]];
}

/** Say what a region is, in a few words. */
export function nameOf(region: { bbox: BBox } | { geometry: Geometry }): string {
  if ("geometry" in region) return region.geometry.type === "MultiPolygon" ? "Drawn area, in parts" : "Drawn area";
  const [west, south, east, north] = region.bbox;
  return `${degrees(south, "S", "N")}–${degrees(north, "S", "N")}, ${degrees(west, "W", "E")}–${degrees(east, "W", "E")}`;
}

/** Return degrees as people write them, such as 12.3° N. */
export function degrees(value: number, below: string, above: string): string {
  return `${Math.abs(value).toFixed(Math.abs(value) % 1 ? 2 : 0)}° ${value < 0 ? below : above}`;
}
