// What the map shows, for those who ask for it: it changes when the map has come to rest.
import { signal } from "@preact/signals";
import type { BBox } from "./regions";

export const visibleBox = signal<BBox>([-180, -90, 180, 90]);

/** Return the box of a view whose longitudes may go on beyond 180. */
export function boxOfView(west: number, south: number, east: number, north: number): BBox {
  const [bottom, top] = [Math.max(south, -90), Math.min(north, 90)];
  if (east - west >= 360) return [-180, bottom, 180, top];
  const wrap = (x: number): number => ((((x + 180) % 360) + 360) % 360) - 180;
  return [wrap(west), bottom, wrap(east), top];
}
