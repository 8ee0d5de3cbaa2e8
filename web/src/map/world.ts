// The map itself: set up once, then told what to show.
import { AttributionControl, Map, NavigationControl, setWorkerUrl, type MapMouseEvent } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import "maplibre-gl/dist/maplibre-gl.css";
import { batch, effect } from "@preact/signals";
import { answer, focused, hovered, query, shown, takeAt } from "../state/store";
import { isDark } from "../state/theme";
import { centreOf } from "../state/places";
import { Drawing } from "./drawing";
import { addFootprints, filterFootprints, markRow, paintFootprints, showFootprints } from "./footprints";
import { addFineLand, baseStyle, DARK, LIGHT, needsFineLand, repaintBase, type Palette } from "./style";
import { showsFootprints, tool } from "./tools";
import { wrapped } from "./regions";
import { addCoverage, repaintCoverage, showCoverage, showHeat } from "./coverage";
import { boxOfView, visibleBox } from "./view";
import { coverage, heat, showsCoverage } from "../state/archive";

const palette = (): Palette => (isDark.value ? DARK : LIGHT);

export class World {
  readonly map: Map;
  private drawing: Drawing | null = null;

  constructor(container: HTMLElement) {
    setWorkerUrl(new URL(workerUrl, document.baseURI).href);
    this.map = new Map({
      container,
      style: baseStyle(palette()),
      center: [10, 15],
      zoom: 0.6,
      maxZoom: 18,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      doubleClickZoom: true,
      attributionControl: false,
      fadeDuration: 0,
      canvasContextAttributes: { preserveDrawingBuffer: false },
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.map.addControl(new AttributionControl({ compact: false }), "bottom-right");
    this.map.getCanvas().setAttribute("aria-label", "Map. Arrow keys move it, Enter takes the chip at the crosshair.");
    this.map.once("load", () => this.prepare());
  }

  private prepare(): void {
    const { map } = this;
    addCoverage(map, palette());
    addFootprints(map, palette());
    this.drawing = new Drawing(map, palette());
    map.on("click", (event) => this.click(event));
    map.on("dblclick", (event) => this.doubleClick(event));
    map.on("mousemove", (event) => this.hover(event));
    map.on("mouseout", () => (hovered.value = -1));
    map.on("zoom", () => this.loadFineLand());
    map.on("moveend", () => this.say());
    map.on("idle", () => (map.getContainer().dataset["drawn"] = String(performance.now())));
    this.say();
    this.loadFineLand();
    this.follow();
    map.getContainer().dataset["ready"] = "true";
  }

  private say(): void {
    const [bounds, centre] = [this.map.getBounds(), this.map.getCenter()];
    this.map.getContainer().dataset["view"] = [centre.lng, centre.lat, this.map.getZoom()].join(",");
    visibleBox.value = boxOfView(bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth());
  }

  private loadFineLand(): void {
    if (needsFineLand(this.map)) addFineLand(this.map, palette(), "coverage");
  }

  /** Keep the map as the page's state is. */
  private follow(): void {
    const { map } = this;
    let [lastHovered, lastFocused] = [-1, -1];
    effect(() => {
      showFootprints(map, answer.value);
      [lastHovered, lastFocused] = [-1, -1];
    });
    effect(() => {
      const found = answer.value;
      const least = found?.distances[0] ?? 0;
      paintFootprints(map, least, found?.distances[shown.value - 1] ?? least, query.peek().cutoff, isDark.value, palette());
    });
    effect(() => filterFootprints(map, query.value.cutoff));
    effect(() => {
      markRow(map, lastHovered, hovered.value, "hovered");
      lastHovered = hovered.value;
    });
    effect(() => {
      markRow(map, lastFocused, focused.value, "focused");
      lastFocused = focused.value;
    });
    effect(() => {
      void query.value.region;
      this.drawing?.show();
    });
    effect(() => {
      repaintBase(map, palette());
      repaintCoverage(map, palette());
      this.drawing?.repaint(palette());
    });
    effect(() => showCoverage(map, coverage.value, showsCoverage.value && !heat.value));
    effect(() => {
      showHeat(map, heat.value, isDark.value);
      for (const layer of ["footprints", "outlines", "dots"]) map.setLayoutProperty(layer, "visibility", heat.value || !showsFootprints.value ? "none" : "visible");
    });
    effect(() => {
      map.getCanvas().style.cursor = "crosshair";
      if (tool.value === "region") map.doubleClickZoom.disable();
      else map.doubleClickZoom.enable();
    });
  }

  private click(event: MapMouseEvent): void {
    this.takeAt(event.lngLat.lng, event.lngLat.lat);
  }

  /** Do at a place what the chosen tool does. */
  takeAt(longitude: number, latitude: number): void {
    const chosen = tool.value;
    if (chosen === "region") this.drawing?.add([longitude, latitude]);
    else void takeAt(wrapped(longitude), latitude, chosen);
  }

  private doubleClick(event: MapMouseEvent): void {
    if (tool.value !== "region") return;
    event.preventDefault();
    this.drawing?.finish();
  }

  private hover(event: MapMouseEvent): void {
    if (tool.value === "region") return;
    const layers = ["dots", "footprints"].filter((layer) => this.map.getLayer(layer));
    const [first] = this.map.queryRenderedFeatures(event.point, { layers });
    hovered.value = first ? Number(first.id) : -1;
  }

  /** Do what Enter and Escape do on the map. Return whether it did anything. */
  key(name: string): boolean {
    const { lng, lat } = this.map.getCenter();
    if (tool.value === "region" && name === "Escape") this.drawing?.give();
    else if (tool.value === "region" && name === "Enter" && document.activeElement !== this.map.getCanvas()) this.drawing?.finish();
    else if (name === "Enter") this.takeAt(lng, lat);
    else if (tool.value === "region" && name === " ") this.drawing?.finish();
    else return false;
    return true;
  }

  /** Show all results that have a place. */
  fit(): void {
    const found = answer.value;
    if (!found) return;
    const centres = found.boxes.slice(0, shown.value).filter((box) => box !== null).map(centreOf);
    if (!centres.length) return;
    const [xs, ys] = [centres.map(([x]) => x), centres.map(([, y]) => y)];
    const bounds: [number, number, number, number] = [Math.min(...xs), Math.max(Math.min(...ys), -80), Math.max(...xs), Math.min(Math.max(...ys), 84)];
    this.map.fitBounds(bounds, { padding: 48, maxZoom: 10, duration: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 500 });
  }
}

/** Forget what is marked. */
export const unmark = (): void => batch(() => {
  hovered.value = -1;
  focused.value = -1;
});
