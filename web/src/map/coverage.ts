// Where the archive has chips: a quiet layer behind the results.
import { signal } from "@preact/signals";
import type { GeoJSONSource, Map } from "maplibre-gl";
import type { FeatureCollection } from "geojson";
import type { Palette } from "./style";

export const showsCoverage = signal(true);

const EMPTY: FeatureCollection = { type: "FeatureCollection", features: [] };

/** Add source and layer, without cells. */
export function addCoverage(map: Map, palette: Palette): void {
  map.addSource("coverage", { type: "geojson", data: EMPTY });
  map.addLayer({ id: "coverage", type: "fill", source: "coverage", paint: { "fill-color": palette.coverage, "fill-opacity": ["get", "opacity"], "fill-antialias": false } });
}

/** Show the layer in other colours. */
export function repaintCoverage(map: Map, palette: Palette): void {
  map.setPaintProperty("coverage", "fill-color", palette.coverage);
}

/** Show cells. */
export function setCoverage(map: Map, cells: FeatureCollection): void {
  void (map.getSource("coverage") as GeoJSONSource | undefined)?.setData(cells);
}
