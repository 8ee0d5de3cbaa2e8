// The results on the map: one GeoJSON source. Hover, focus and labels are feature states, the cutoff is a filter:
// the source is written once an answer.
import type { ExpressionSpecification, GeoJSONSource, Map } from "maplibre-gl";
import type { Feature, FeatureCollection } from "geojson";
import type { Answer } from "../api/search";
import { centreOf, widthOf } from "../state/places";
import { ramp } from "./colours";
import { ringOf } from "./regions";
import type { Palette } from "./style";

const SMALL = 7; // a footprint narrower than this many pixels is drawn as a dot
const EMPTY: FeatureCollection = { type: "FeatureCollection", features: [] };

/** Return the footprints of an answer, the nearest last so that it is drawn on top. `id`: the row. */
export function footprintsOf(answer: Answer): FeatureCollection {
  const features: Feature[] = [];
  for (let row = answer.ids.length - 1; row >= 0; row--) {
    const box = answer.boxes[row];
    if (!box) continue;
    features.push({ type: "Feature", id: row, properties: { distance: answer.distances[row]! }, geometry: { type: "Polygon", coordinates: [ringOf(box)] } });
  }
  return { type: "FeatureCollection", features };
}

/** Return the same places as dots. */
export function dotsOf(answer: Answer): FeatureCollection {
  const features: Feature[] = [];
  for (let row = answer.ids.length - 1; row >= 0; row--) {
    const box = answer.boxes[row];
    if (box) features.push({ type: "Feature", id: row, properties: { distance: answer.distances[row]! }, geometry: { type: "Point", coordinates: centreOf(box) } });
  }
  return { type: "FeatureCollection", features };
}

/** Return from which zoom on footprints are wide enough to be seen as such. */
export function zoomOfFootprints(answer: Answer): number {
  const widths = answer.boxes.filter((box) => box !== null).map(widthOf).sort((a, b) => a - b);
  const middle = widths[widths.length >> 1] ?? 1;
  return Math.min(Math.max(Math.log2((SMALL * 360) / (512 * Math.max(middle, 1e-6))), 0), 20);
}

const onTop = (of: string, otherwise: ExpressionSpecification | number): ExpressionSpecification =>
  ["case", ["any", ["boolean", ["feature-state", "focused"], false], ["boolean", ["feature-state", "hovered"], false]], of, otherwise] as ExpressionSpecification;

/** Add source and layers, without results. */
export function addFootprints(map: Map, palette: Palette): void {
  map.addSource("footprints", { type: "geojson", data: EMPTY });
  map.addSource("dots", { type: "geojson", data: EMPTY });
  map.addLayer({ id: "footprints", type: "fill", source: "footprints", paint: { "fill-opacity": 0.72 } });
  map.addLayer({ id: "outlines", type: "line", source: "footprints", paint: { "line-color": palette.focus, "line-width": ["case", ["boolean", ["feature-state", "focused"], false], 3, ["boolean", ["feature-state", "hovered"], false], 2, 0] } });
  map.addLayer({ id: "dots", type: "circle", source: "dots", paint: { "circle-radius": ["case", ["boolean", ["feature-state", "focused"], false], 8, ["boolean", ["feature-state", "hovered"], false], 7, 4], "circle-stroke-width": ["case", ["boolean", ["feature-state", "focused"], false], 3, ["boolean", ["feature-state", "hovered"], false], 2, 0.5], "circle-stroke-color": onTop(palette.focus, ["literal", "rgba(0,0,0,.35)"] as unknown as ExpressionSpecification) } });
}

/** Show an answer. */
export function showFootprints(map: Map, answer: Answer | null): void {
  const source = (id: string): GeoJSONSource => map.getSource(id) as GeoJSONSource;
  map.removeFeatureState({ source: "footprints" });
  map.removeFeatureState({ source: "dots" });
  void source("footprints").setData(answer ? footprintsOf(answer) : EMPTY);
  void source("dots").setData(answer ? dotsOf(answer) : EMPTY);
  if (!answer) return;
  const zoom = zoomOfFootprints(answer);
  map.setLayerZoomRange("dots", 0, zoom);
  map.setLayerZoomRange("footprints", zoom, 24);
  map.setLayerZoomRange("outlines", zoom, 24);
}

/** Colour by distance between the least and the greatest shown, and hide what is beyond the cutoff. */
export function paintFootprints(map: Map, least: number, greatest: number, cutoff: number | null, isDark: boolean, palette: Palette): void {
  const colours = ramp(isDark);
  const end = greatest > least ? greatest : least + 1;
  const stops = colours.flatMap((colour, place) => [least + ((end - least) * place) / (colours.length - 1), colour]);
  const colour = ["interpolate", ["linear"], ["get", "distance"], ...stops] as ExpressionSpecification;
  map.setPaintProperty("footprints", "fill-color", colour);
  map.setPaintProperty("dots", "circle-color", colour);
  map.setPaintProperty("outlines", "line-color", palette.focus);
  map.setPaintProperty("dots", "circle-stroke-color", onTop(palette.focus, ["literal", isDark ? "rgba(0,0,0,.6)" : "rgba(255,255,255,.9)"] as unknown as ExpressionSpecification));
  filterFootprints(map, cutoff);
}

/** Hide what is beyond the cutoff. */
export function filterFootprints(map: Map, cutoff: number | null): void {
  const filter: ExpressionSpecification | null = cutoff === null ? null : ["<=", ["get", "distance"], cutoff];
  for (const layer of ["footprints", "outlines", "dots"]) map.setFilter(layer, filter);
}

/** Mark a row of the answer, and no other. */
export function markRow(map: Map, before: number, now: number, state: "hovered" | "focused"): void {
  for (const source of ["footprints", "dots"]) {
    if (before >= 0) map.setFeatureState({ source, id: before }, { [state]: false });
    if (now >= 0) map.setFeatureState({ source, id: now }, { [state]: true });
  }
}
