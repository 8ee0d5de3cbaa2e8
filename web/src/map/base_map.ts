// An operator's own base map, drawn above the land and below all that the page shows. It is a PMTiles archive that
// the service sends in ranges of bytes; its tiles are pictures, or vectors with the layers of Protomaps or OpenMapTiles.
import { addProtocol, type LayerSpecification, type Map } from "maplibre-gl";
import { FetchSource, PMTiles, Protocol, TileType } from "pmtiles";
import { SERVICE } from "../api/client";
import { key } from "../state/session";
import type { Palette } from "./style";

const SOURCE = "base-map";
const PICTURE_PX = 256;

interface Kind {
  readonly names: readonly string[];
  readonly type: "fill" | "line";
  readonly colour: keyof Palette;
}

/** Which of an archive's layers are drawn, the lowest first. The others would hide what is searched for. */
const KINDS: readonly Kind[] = [
  { names: ["earth"], type: "fill", colour: "land" },
  { names: ["water", "ocean"], type: "fill", colour: "sea" },
  { names: ["waterway"], type: "line", colour: "sea" },
  { names: ["roads", "transportation"], type: "line", colour: "border" },
  { names: ["boundaries", "boundary"], type: "line", colour: "shore" },
];

let protocol: Protocol | null = null;

export class BaseMap {
  private layers: { readonly id: string; readonly kind: Kind | null }[] = [];

  constructor(private readonly map: Map) {}

  /** Load the archive's header, and draw it. Throws where it can't be read. */
  async add(palette: Palette, below: string): Promise<void> {
    const address = `${SERVICE}/v1/base-map`;
    const headers = new Headers(key.value ? { Authorization: `Bearer ${key.value}` } : {});
    const archive = new PMTiles(new FetchSource(address, headers));
    if (!protocol) addProtocol("pmtiles", (protocol = new Protocol()).tile);
    protocol.add(archive);
    const header = await archive.getHeader();
    const known = (await archive.getMetadata()) as { attribution?: unknown; vector_layers?: { id: string }[] };
    const isVector = header.tileType === TileType.Mvt;
    const limits = { minzoom: header.minZoom, maxzoom: header.maxZoom, bounds: [header.minLon, header.minLat, header.maxLon, header.maxLat] as [number, number, number, number] };
    const common = { tiles: [`pmtiles://${address}/{z}/{x}/{y}`], attribution: asText(known.attribution), ...limits };
    this.map.addSource(SOURCE, isVector ? { type: "vector", ...common } : { type: "raster", tileSize: PICTURE_PX, ...common });
    if (isVector) this.addVectors(new Set(known.vector_layers?.map(({ id }) => id)), palette, below);
    else {
      this.layers = [{ id: SOURCE, kind: null }];
      this.map.addLayer({ id: SOURCE, type: "raster", source: SOURCE }, below);
    }
  }

  private addVectors(present: ReadonlySet<string>, palette: Palette, below: string): void {
    for (const kind of KINDS) {
      for (const name of kind.names.filter((each) => present.has(each))) {
        const id = `${SOURCE}-${name}`;
        const place = { id, source: SOURCE, "source-layer": name };
        const colour = palette[kind.colour];
        const layer: LayerSpecification = kind.type === "fill" ? { ...place, type: "fill", paint: { "fill-color": colour } } : { ...place, type: "line", paint: { "line-color": colour } };
        this.map.addLayer(layer, below);
        this.layers.push({ id, kind });
      }
    }
  }

  /** Draw it in other colours. Pictures stay what they are. */
  repaint(palette: Palette): void {
    for (const { id, kind } of this.layers) {
      if (kind) this.map.setPaintProperty(id, `${kind.type}-color`, palette[kind.colour]);
    }
  }

  setVisible(isVisible: boolean): void {
    for (const { id } of this.layers) this.map.setLayoutProperty(id, "visibility", isVisible ? "visible" : "none");
  }
}

/** Return an attribution as text: MapLibre would take it for HTML. */
function asText(attribution: unknown): string {
  const element = document.createElement("span");
  const parsed = new DOMParser().parseFromString(typeof attribution === "string" ? attribution : "", "text/html");
  element.textContent = parsed.body.textContent;
  return element.innerHTML;
}
