// Two quiet layers behind the results: where the archive has chips, and the heat of a query over all of them.
import type { Coverage, Heat } from "../api/archive";
import { Boxes, STEPS, type Box } from "./boxes";
import { ramp, SHADES } from "./colours";
import type { BBox } from "./regions";

const NO_DOTS = { below: 0, radius: 0 };
const WARM = [0.45, 0.95] as const;

const between = ([least, most]: readonly [number, number], share: number): number => least + (most - least) * share;

/**
 * Return the cells of a coverage as boxes; how full one is shows in its opacity, a step for each factor of ten: in
 * finer ones, cells with one and with two chips by turns would make a pattern. Neighbours in a row that look alike
 * are one box: a full archive has tens of thousands of cells.
 */
export function coverageCells({ cell_degrees: size, cells: { x, y, count } }: Coverage): Box[] {
  const looks = count.map((chips) => Math.min(String(chips).length, SHADES.length) - 1);
  const boxes: Box[] = [];
  let first = 0;
  for (let next = 1; next <= x.length; next++) {
    const isSame = y[next] === y[first] && x[next] === x[first]! + next - first && looks[next] === looks[first];
    if (isSame) continue;
    const [west, south] = [-180 + x[first]! * size, -90 + y[first]! * size];
    boxes.push({ bbox: [west, south, west + (next - first) * size, south + size], value: 0, opacity: SHADES[looks[first]!]! });
    first = next;
  }
  return boxes;
}

/** Return the cells of a heat: the value is the distance of the nearest chip, the opacity shows how many there are. */
export function heatCells({ view, width, height, cells }: Heat): Box[] {
  const [west, , , north] = view as unknown as BBox;
  const [across, down] = cellSize(view as unknown as BBox, width, height);
  const most = Math.log1p(cells.count.reduce((a, b) => Math.max(a, b), 1));
  return cells.index.map((index, place) => {
    const [x, y] = [west + (index % width) * across, north - Math.floor(index / width) * down];
    const share = Math.log1p(cells.count[place]!) / most;
    return { bbox: [x, y - down, x + across, y], value: cells.distance[place]!, opacity: between(WARM, share) };
  });
}

const cellSize = ([west, south, east, north]: BBox, width: number, height: number): [number, number] => [
  (west >= east ? east + 360 - west : east - west) / width,
  (north - south) / height,
];

/** A layer of the archive's cells, without any. */
export const coverageLayer = (): Boxes => new Boxes("coverage", NO_DOTS);

/** A layer of a query's heat, without any. */
export const heatLayer = (): Boxes => new Boxes("heat", NO_DOTS);

/** Show the archive's cells in one colour. */
export function showCoverage(layer: Boxes, coverage: Coverage | null, isVisible: boolean, colour: string): void {
  layer.paint(new Array<string>(STEPS).fill(colour), 0, 1);
  layer.fill(coverage && isVisible ? coverageCells(coverage) : []);
}

/** Show the heat of a query, coloured as footprints are. */
export function showHeat(layer: Boxes, heat: Heat | null, isDark: boolean): void {
  const distances = heat?.cells.distance ?? [];
  const least = distances.reduce((a, b) => Math.min(a, b), Infinity);
  const greatest = distances.reduce((a, b) => Math.max(a, b), -Infinity);
  layer.paint(ramp(isDark), least, Math.max(greatest, least + 1));
  layer.fill(heat ? heatCells(heat) : []);
}
