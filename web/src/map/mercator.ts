// Web Mercator, as MapLibre draws it: 0..1 from the world's north-western corner, east and south.
const LAST = 85.051129; // degrees: where the square ends

/** Return a place on the square of the world; a longitude beyond 180 lies beyond 1. */
export function placeOf(longitude: number, latitude: number): [number, number] {
  const within = Math.min(Math.max(latitude, -LAST), LAST);
  return [(longitude + 180) / 360, 0.5 - Math.log(Math.tan(Math.PI / 4 + (within * Math.PI) / 360)) / (2 * Math.PI)];
}
