// The results on the map, coloured by distance: the nearest on top, what is beyond the cutoff left out.
import type { Map } from "maplibre-gl";
import type { Answer } from "../api/search";
import { Boxes, type Box } from "./boxes";
import { ramp } from "./colours";

const OPACITY = 0.72;
const DOTS = { below: 7, radius: 4 };

export class Footprints {
  private readonly boxes = new Boxes("footprints", DOTS);
  private rows: readonly number[] = []; // of each box: the row of the answer, from the last to the first

  /** Add the layer to a map, below another one. */
  addTo(map: Map, below?: string): void {
    map.addLayer(this.boxes, below);
  }

  /** Take an answer's chips that have a place. */
  show(answer: Answer | null): void {
    const rows: number[] = [];
    const boxes: Box[] = [];
    for (let row = (answer?.ids.length ?? 0) - 1; row >= 0; row--) {
      const bbox = answer!.boxes[row];
      if (!bbox) continue;
      rows.push(row);
      boxes.push({ bbox, value: answer!.distances[row]!, opacity: OPACITY });
    }
    this.rows = rows;
    this.boxes.fill(boxes);
  }

  /** Leave out rows from `shown` on; colour the others by distance, between the least and the greatest of them. */
  paint(shown: number, least: number, greatest: number, isDark: boolean, markLine: string): void {
    const first = this.rows.findIndex((row) => row < shown);
    this.boxes.showFrom(first < 0 ? this.rows.length : first);
    this.boxes.paint(ramp(isDark), least, Math.max(greatest, least + 1), isDark ? "#000000" : "#ffffff", markLine);
  }

  /** Make two rows stand out; -1: none. */
  mark(hovered: number, focused: number): void {
    const marks = [
      { box: this.rows.indexOf(hovered), line: 2, radius: 7 },
      { box: this.rows.indexOf(focused), line: 3, radius: 8 },
    ];
    this.boxes.mark(marks.filter(({ box }) => box >= 0));
  }

  setVisible(isVisible: boolean): void {
    this.boxes.setVisible(isVisible);
  }

  /** Return the row whose footprint is on top at a place of the map; -1: none. */
  rowAt(map: Map, longitude: number, latitude: number): number {
    return this.rows[this.boxes.at(longitude, latitude, 512 * 2 ** map.getZoom())] ?? -1;
  }
}
