// Two quiet layers behind the results: where the archive has chips, and the heat of a query over all of them.
import type { ExpressionSpecification, GeoJSONSource, Map } from "maplibre-gl";
import type { Feature, FeatureCollection } from "geojson";
import type { Coverage, Heat } from "../api/archive";
import { ramp } from "./colours";
import type { BBox } from "./regions";
import type { Palette } from "./style";

const EMPTY: FeatureCollection = { type: "FeatureCollection", features: [] };

function cell(west: number, south: number, east: number, north: number, properties: Record<string, number>): Feature {
  const ring = [[west, south], [east, south], [east, north], [west, north], [west, south]];
  return { type: "Feature", properties, geometry: { type: "Polygon", coordinates: [ring] } };
}

const FULL = 10_000; // chips: a cell with as many has the strongest colour

/** Return the cells of a coverage; `share`: how full each is, 0..1, in steps that are equal for equal ratios. */
export function coverageCells({ cell_degrees: size, cells }: Coverage): FeatureCollection {
  return {
    type: "FeatureCollection",
    features: cells.x.map((x, place) => {
      const [west, south] = [-180 + x * size, -90 + cells.y[place]! * size];
      return cell(west, south, west + size, south + size, { share: Math.min(Math.log(cells.count[place]!) / Math.log(FULL), 1) });
    }),
  };
}

/** Return the cells of a heat, each with the distance of its nearest chip and with how full it is. */
export function heatCells({ view, width, height, cells }: Heat): FeatureCollection {
  const [west, , , north] = view as unknown as BBox;
  const [across, down] = cellSize(view as unknown as BBox, width, height);
  const most = Math.log1p(Math.max(1, ...cells.count));
  return {
    type: "FeatureCollection",
    features: cells.index.map((index, place) => {
      const [x, y] = [west + (index % width) * across, north - Math.floor(index / width) * down];
      return cell(x, y - down, x + across, y, { distance: cells.distance[place]!, share: Math.log1p(cells.count[place]!) / most });
    }),
  };
}

const cellSize = ([west, south, east, north]: BBox, width: number, height: number): [number, number] => [
  (west >= east ? east + 360 - west : east - west) / width,
  (north - south) / height,
];

/** Add sources and layers, without cells. */
export function addCoverage(map: Map, palette: Palette): void {
  map.addSource("coverage", { type: "geojson", data: EMPTY });
  map.addSource("heat", { type: "geojson", data: EMPTY });
  const opacity: ExpressionSpecification = ["interpolate", ["linear"], ["get", "share"], 0, 0.12, 1, 0.4];
  map.addLayer({ id: "coverage", type: "fill", source: "coverage", paint: { "fill-color": palette.coverage, "fill-opacity": opacity, "fill-antialias": false } });
  const warm: ExpressionSpecification = ["interpolate", ["linear"], ["get", "share"], 0, 0.45, 1, 0.95];
  map.addLayer({ id: "heat", type: "fill", source: "heat", paint: { "fill-opacity": warm, "fill-antialias": false } });
}

/** Show the layers in other colours. */
export function repaintCoverage(map: Map, palette: Palette): void {
  map.setPaintProperty("coverage", "fill-color", palette.coverage);
}

/** Show the archive's cells. */
export function showCoverage(map: Map, coverage: Coverage | null, isVisible: boolean): void {
  void (map.getSource("coverage") as GeoJSONSource).setData(coverage && isVisible ? coverageCells(coverage) : EMPTY);
}

/** Show the heat of a query, coloured as footprints are. */
export function showHeat(map: Map, heat: Heat | null, isDark: boolean): void {
  const distances = heat?.cells.distance ?? [];
  void (map.getSource("heat") as GeoJSONSource).setData(heat ? heatCells(heat) : EMPTY);
  if (!distances.length) return;
  const least = distances.reduce((a, b) => Math.min(a, b));
  const greatest = Math.max(distances.reduce((a, b) => Math.max(a, b)), least + 1);
  const colours = ramp(isDark);
  const stops = colours.flatMap((colour, place) => [least + ((greatest - least) * place) / (colours.length - 1), colour]);
  map.setPaintProperty("heat", "fill-color", ["interpolate", ["linear"], ["get", "distance"], ...stops] as ExpressionSpecification);
}
