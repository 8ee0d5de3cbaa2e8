// Where results lie. "One a place": of chips that overlap, the nearest is kept; the others, mostly other dates, stand
// behind it. And which of them lie in an area.
import { wrapped, type BBox } from "../map/regions";

export interface Place {
  /** The row of the chip that stands for the place. */
  readonly row: number;
  /** Rows of the others. */
  readonly behind: readonly number[];
}

const CELL = 0.25; // degrees; a chip is looked for in the cell of its centre and those around

/** Return the places of the first `count` boxes, which are sorted by distance. A chip without a place is its own. */
export function placesOf(boxes: readonly (BBox | null)[], count: number): Place[] {
  const places: { row: number; behind: number[] }[] = [];
  const cells = new Map<string, number[]>();
  const size = cellSize(boxes, count);
  for (let row = 0; row < count; row++) {
    const box = boxes[row];
    if (!box) {
      places.push({ row, behind: [] });
      continue;
    }
    const [x, y] = centreOf(box);
    const [column, line] = [Math.floor(x / size), Math.floor(y / size)];
    const known = around(column, line)
      .flatMap((cell) => cells.get(cell) ?? [])
      .find((place) => isWithin(boxes[places[place]!.row]!, x, y));
    if (known !== undefined) {
      places[known]!.behind.push(row);
      continue;
    }
    const key = `${column},${line}`;
    cells.set(key, [...(cells.get(key) ?? []), places.length]);
    places.push({ row, behind: [] });
  }
  return places;
}

/** Cells as large as the largest box, so that what overlaps lies in neighbouring ones. */
function cellSize(boxes: readonly (BBox | null)[], count: number): number {
  let size = CELL;
  for (let row = 0; row < count; row++) {
    const box = boxes[row];
    if (box) size = Math.max(size, widthOf(box), box[3] - box[1]);
  }
  return size;
}

function around(column: number, line: number): string[] {
  const steps = [-1, 0, 1];
  return steps.flatMap((down) => steps.map((right) => `${column + right},${line + down}`));
}

export const widthOf = ([west, , east]: BBox): number => (west > east ? east + 360 - west : east - west);

/** Return the middle of a box; its longitude is 180 or more where the box lies over the antimeridian. */
export const centreOf = (box: BBox): [number, number] => [box[0] + widthOf(box) / 2, (box[1] + box[3]) / 2];

/** Whether a box has the position in its inner half: chips that only touch, or overlap at their edges, are two places. */
function isWithin(box: BBox, x: number, y: number): boolean {
  const [cx, cy] = centreOf(box);
  return Math.abs(cx - x) < widthOf(box) / 2 && Math.abs(cy - y) < (box[3] - box[1]) / 2;
}

/** Return which of the boxes have their middle in an area; a chip without a place is in none. */
export function rowsIn([west, south, east, north]: BBox, boxes: readonly (BBox | null)[]): number[] {
  return boxes.flatMap((box, row) => {
    if (!box) return [];
    const [x, y] = [wrapped(centreOf(box)[0]), centreOf(box)[1]];
    const isBetween = west <= east ? west <= x && x <= east : west <= x || x <= east;
    return isBetween && south <= y && y <= north ? [row] : [];
  });
}
