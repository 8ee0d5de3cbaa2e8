// The base map: land, borders and nothing else, in quiet colours, so that footprints stand out.
import type { Map, StyleSpecification } from "maplibre-gl";
import borders from "./borders.json?url";
import landCoarse from "./land_coarse.json?url";
import landFine from "./land_fine.json?url";

const FINE_FROM = 3; // zoom: nearer than this the finer outlines are loaded

export interface Palette {
  readonly sea: string;
  readonly land: string;
  readonly shore: string;
  readonly border: string;
  readonly coverage: string;
  readonly region: string;
  readonly focus: string;
}

export const LIGHT: Palette = {
  sea: "#e3e8ee",
  land: "#f7f7f4",
  shore: "#bcc6d1",
  border: "#d3d8dd",
  coverage: "#5d7fa6",
  region: "#0f5fc2",
  focus: "#101828",
};
export const DARK: Palette = {
  sea: "#10161f",
  land: "#1e2733",
  shore: "#35445a",
  border: "#2e3a4b",
  coverage: "#6f95c4",
  region: "#6db1ff",
  focus: "#ffffff",
};

const absolute = (url: string): string => new URL(url, document.baseURI).href;

/** Return the style of the base map. */
export function baseStyle(palette: Palette): StyleSpecification {
  return {
    version: 8,
    sources: {
      "land-coarse": { type: "geojson", data: absolute(landCoarse), attribution: "Natural Earth" },
    },
    layers: [
      { id: "land-coarse", type: "fill", source: "land-coarse", maxzoom: FINE_FROM, paint: { "fill-color": palette.land, "fill-outline-color": palette.shore } },
    ],
    transition: { duration: 0, delay: 0 },
  };
}

/** Add the finer outlines, which a view of the world doesn't need. */
export function addFineLand(map: Map, palette: Palette, below: string): void {
  map.addSource("land-fine", { type: "geojson", data: absolute(landFine) });
  map.addSource("borders", { type: "geojson", data: absolute(borders) });
  map.addLayer({ id: "land-fine", type: "fill", source: "land-fine", minzoom: FINE_FROM, paint: { "fill-color": palette.land, "fill-outline-color": palette.shore } }, below);
  map.addLayer({ id: "borders", type: "line", source: "borders", minzoom: FINE_FROM, paint: { "line-color": palette.border, "line-width": 1 } }, below);
}

export const needsFineLand = (map: Map): boolean => map.getZoom() > FINE_FROM - 0.5 && !map.getSource("land-fine");

/** Show the base map in other colours. */
export function repaintBase(map: Map, palette: Palette): void {
  for (const id of ["land-coarse", "land-fine"]) {
    if (!map.getLayer(id)) continue;
    map.setPaintProperty(id, "fill-color", palette.land);
    map.setPaintProperty(id, "fill-outline-color", palette.shore);
  }
  if (map.getLayer("borders")) map.setPaintProperty("borders", "line-color", palette.border);
}
