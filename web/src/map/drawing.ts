// Drawing a region: a click for each corner; Enter, a double click or the first corner ends it, Esc gives it up.
// Positions go on beyond 180 degrees, so that a region may lie over the antimeridian; `geometryOf` cuts it there.
import type { GeoJSONSource, Map, MapMouseEvent } from "maplibre-gl";
import type { FeatureCollection } from "geojson";
import { change, query } from "../state/store";
import { geometryOf, ringOf } from "./regions";
import { tool } from "./tools";
import type { Palette } from "./style";
import type { Region } from "../state/query";

type Position = [number, number];
const NEAR = 10; // pixels: a click so near to the first corner ends the drawing

export class Drawing {
  private corners: Position[] = [];
  private pointer: Position | null = null;

  constructor(private readonly map: Map, private readonly palette: () => Palette) {
    map.on("mousemove", (event) => this.move(event));
  }

  /** Return what other layers must be added below; undefined if nothing is drawn yet. */
  lowestLayer(): string | undefined {
    return this.map.getLayer("region-fill") ? "region-fill" : undefined;
  }

  /** Show the drawing in the colours of now. */
  repaint(): void {
    if (!this.lowestLayer()) return;
    const { region } = this.palette();
    this.map.setPaintProperty("region-fill", "fill-color", region);
    this.map.setPaintProperty("region-line", "line-color", region);
    this.map.setPaintProperty("region-corners", "circle-color", region);
  }

  /** Add a corner; a click on the first one ends the drawing. */
  add(position: Position): void {
    const last = this.corners.at(-1);
    if (last && last[0] === position[0] && last[1] === position[1]) return;
    const first = this.corners[0];
    if (first && this.corners.length > 2 && this.pixels(first, position) < NEAR) {
      this.finish();
      return;
    }
    this.corners.push(position);
    this.show();
  }

  /** Take what is drawn as the region. */
  finish(): void {
    const { corners } = this;
    this.give();
    if (corners.length > 2) change({ region: { geometry: geometryOf(corners) }, cutoff: null });
  }

  /** Give the drawing up. */
  give(): void {
    this.corners = [];
    this.pointer = null;
    tool.value = "search";
    this.show();
  }

  /** Show the region of the query, or what is being drawn. The layers are added when there is something to show. */
  show(): void {
    const data = this.data();
    const source = this.map.getSource("region") as GeoJSONSource | undefined;
    if (source) source.setData(data);
    else if (data.features.length) this.addLayers(data);
  }

  private addLayers(data: FeatureCollection): void {
    const { map } = this;
    const { region } = this.palette();
    map.addSource("region", { type: "geojson", data });
    map.addLayer({ id: "region-fill", type: "fill", source: "region", paint: { "fill-color": region, "fill-opacity": 0.08 } });
    map.addLayer({ id: "region-line", type: "line", source: "region", paint: { "line-color": region, "line-width": 2, "line-dasharray": [3, 2] } });
    map.addLayer({ id: "region-corners", type: "circle", source: "region", filter: ["==", ["geometry-type"], "Point"], paint: { "circle-color": region, "circle-radius": 4 } });
  }

  private move(event: MapMouseEvent): void {
    if (tool.value !== "region" || !this.corners.length) return;
    this.pointer = event.lngLat.toArray() as Position;
    this.show();
  }

  private data(): FeatureCollection {
    const line = this.pointer ? [...this.corners, this.pointer] : this.corners;
    if (!line.length) return regionShape(query.value.region);
    const shape: FeatureCollection = { type: "FeatureCollection", features: this.corners.map((each) => ({ type: "Feature", properties: {}, geometry: { type: "Point", coordinates: each } })) };
    if (line.length > 1) shape.features.push({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: line.length > 2 ? [...line, line[0]!] : line } });
    return shape;
  }

  private pixels(a: Position, b: Position): number {
    return this.map.project(a).dist(this.map.project(b));
  }
}

function regionShape(region: Region | null): FeatureCollection {
  const geometry = region && ("bbox" in region ? { type: "Polygon", coordinates: [ringOf(region.bbox)] } : region.geometry);
  return { type: "FeatureCollection", features: geometry ? [{ type: "Feature", properties: {}, geometry: geometry as GeoJSON.Geometry }] : [] };
}
