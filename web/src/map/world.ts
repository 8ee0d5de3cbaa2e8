// The map itself: set up once, then told what to show.
import { AttributionControl, LngLatBounds, Map, NavigationControl, prewarm, setWorkerUrl, type MapMouseEvent, type PointLike } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import "maplibre-gl/dist/maplibre-gl.css";
import { batch, effect } from "@preact/signals";
import { answer, focused, hovered, query, shown, takeAt } from "../state/store";
import { isDark } from "../state/theme";
import { centreOf } from "../state/places";
import type { BaseMap } from "./base_map";
import { forgetPrograms } from "./boxes";
import { Drawing } from "./drawing";
import { Footprints } from "./footprints";
import { addFineLand, baseStyle, DARK, LIGHT, needsFineLand, repaintBase, type Palette } from "./style";
import { lacksBaseMap, showsBaseMap, showsFootprints, tool } from "./tools";
import { wrapped } from "./regions";
import { ExampleMarks } from "./example_marks";
import { labelArea } from "./label_area";
import { coverageLayer, heatLayer, showCoverage, showHeat } from "./coverage";
import { boxOfView, visibleBox } from "./view";
import { coverage, heat, showsCoverage } from "../state/archive";
import { examplePlaces } from "../state/example_places";
import { served } from "../state/served";

const palette = (): Palette => (isDark.value ? DARK : LIGHT);

// at once: the worker starts while the page is made
setWorkerUrl(new URL(workerUrl, document.baseURI).href);
prewarm();

/** Whether the processor draws WebGL. Each frame would hold the page up until its pixels are there: 30 to 120 ms. */
function drawsInSoftware(): boolean {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = names ? String(gl!.getParameter(names.UNMASKED_RENDERER_WEBGL)) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return /SwiftShader|llvmpipe|softpipe|Software|Basic Render/i.test(name);
}

export class World {
  readonly map: Map;
  private readonly drawing: Drawing;
  private readonly footprints = new Footprints();
  private readonly coverage = coverageLayer();
  private readonly heat = heatLayer();
  private baseMap: Promise<BaseMap> | null = null;

  constructor(container: HTMLElement) {
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
      trackResize: false,
      boxZoom: { boxZoomEnd: (_, from, to) => this.endBox(from, to) },
      fadeDuration: 0,
      canvasContextAttributes: { preserveDrawingBuffer: false, desynchronized: drawsInSoftware() },
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.map.addControl(new AttributionControl({ compact: false }), "bottom-right");
    this.map.getCanvas().setAttribute("aria-label", "Map. Arrow keys move it, Enter takes the chip at the crosshair.");
    this.drawing = new Drawing(this.map, palette);
    this.map.once("style.load", () => this.prepare());
    this.map.once("load", () => (container.dataset["ready"] = "true"));
    this.followSize(container);
  }

  /** Fill the container. One frame late: the frame that opens a panel has the whole panel to lay out. */
  private followSize(container: HTMLElement): void {
    const canvas = this.map.getCanvas();
    let frame = 0;
    const fill = (): void => {
      const isFilled = canvas.clientWidth === container.clientWidth && canvas.clientHeight === container.clientHeight;
      if (!isFilled) this.map.resize().redraw();
    };
    const observer = new ResizeObserver(() => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(fill);
    });
    observer.observe(container);
  }

  private prepare(): void {
    const { map } = this;
    this.addBoxes();
    // a graphics card that was reset has lost them; MapLibre brings back only its own layers
    map.on("webglcontextrestored", () => {
      forgetPrograms();
      map.once("style.load", () => this.addBoxes());
    });
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
  }

  private addBoxes(): void {
    const below = this.drawing.lowestLayer();
    this.map.addLayer(this.coverage, below);
    this.map.addLayer(this.heat, below);
    this.footprints.addTo(this.map, below);
  }

  private say(): void {
    const [bounds, centre] = [this.map.getBounds(), this.map.getCenter()];
    this.map.getContainer().dataset["view"] = [centre.lng, centre.lat, this.map.getZoom()].join(",");
    visibleBox.value = boxOfView(bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth());
  }

  private loadFineLand(): void {
    if (needsFineLand(this.map)) addFineLand(this.map, palette(), this.map.getLayersOrder().find((id) => id.startsWith("base-map")) ?? "coverage");
  }

  /** Draw the operator's base map if there is one; the land stays where it can't be read. */
  private loadBaseMap(): void {
    if (this.baseMap || !served.value?.hasBaseMap) return;
    this.baseMap = import("./base_map").then(async (module) => {
      const loaded = new module.BaseMap(this.map);
      await loaded.add(palette(), "coverage");
      return loaded;
    });
    this.baseMap.then((loaded) => effect(() => {
      loaded.repaint(palette());
      loaded.setVisible(showsBaseMap.value);
    }), () => (lacksBaseMap.value = true));
  }

  /** Keep the map as the page's state is. */
  private follow(): void {
    const { map } = this;
    effect(() => this.footprints.show(answer.value));
    effect(() => {
      const found = answer.value;
      const least = found?.distances[0] ?? 0;
      this.footprints.paint(shown.value, least, found?.distances[shown.value - 1] ?? least, isDark.value, palette().focus);
    });
    effect(() => {
      void answer.value;
      this.footprints.mark(hovered.value, focused.value);
    });
    const marks = new ExampleMarks(map);
    effect(() => marks.show(examplePlaces.value));
    effect(() => {
      void query.value.region;
      this.drawing.show();
    });
    effect(() => {
      repaintBase(map, palette());
      this.drawing.repaint();
    });
    effect(() => this.loadBaseMap());
    effect(() => showCoverage(this.coverage, coverage.value, showsCoverage.value && !heat.value, palette().coverage));
    effect(() => showHeat(this.heat, heat.value, isDark.value));
    effect(() => this.footprints.setVisible(showsFootprints.value && !heat.value));
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
    if (chosen === "region") this.drawing.add([longitude, latitude]);
    else void takeAt(wrapped(longitude), latitude, chosen);
  }

  private doubleClick(event: MapMouseEvent): void {
    if (tool.value !== "region") return;
    event.preventDefault();
    this.drawing.finish();
  }

  private hover(event: MapMouseEvent): void {
    if (tool.value === "region") return;
    hovered.value = this.footprints.rowAt(this.map, event.lngLat.lng, event.lngLat.lat);
  }

  /** Do what a box is drawn for, with Shift and a drag: results in it become examples, or it is looked at. */
  private endBox(from: PointLike, to: PointLike): void {
    const chosen = tool.value;
    const bounds = LngLatBounds.fromLngLat(this.map.unproject(from), 0).extend(this.map.unproject(to));
    if (chosen !== "for" && chosen !== "against") this.map.fitScreenCoordinates(from, to, 0, { linear: true });
    else labelArea(boxOfView(bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()), chosen);
  }

  /** Do what Enter and Escape do on the map. Return whether it did anything. */
  key(name: string): boolean {
    const { lng, lat } = this.map.getCenter();
    if (tool.value === "region" && name === "Escape") this.drawing.give();
    else if (tool.value === "region" && name === "Enter" && document.activeElement !== this.map.getCanvas()) this.drawing.finish();
    else if (name === "Enter") this.takeAt(lng, lat);
    else if (tool.value === "region" && name === " ") this.drawing.finish();
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
