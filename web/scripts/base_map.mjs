// Writes the base map, Natural Earth as packaged by world-atlas, as GeoJSON: MapLibre's worker reads that by itself,
// so that the page's own thread does nothing for it.
import { readFile, writeFile } from "node:fs/promises";
import polygonClipping from "polygon-clipping";
import { feature, mesh } from "topojson-client";

const atlas = async (name) => JSON.parse(await readFile(new URL(`../node_modules/world-atlas/${name}.json`, import.meta.url)));

/** The atlas' rings lie on a sphere: they pass 180 degrees without a cut. Return one that goes on beyond it. */
function unrolled(ring) {
  const [line, turn] = [[ring[0]], [0]];
  for (let place = 1; place < ring.length; place++) {
    const step = ring[place][0] - ring[place - 1][0];
    turn[0] += step > 180 ? -360 : step < -180 ? 360 : 0;
    line.push([ring[place][0] + turn[0], ring[place][1]]);
  }
  if (turn[0]) line.push([line.at(-1)[0], -90], [line[0][0], -90], line[0]); // round the South Pole: Antarctica
  return line;
}

/** Return a polygon's parts within -180..180. */
function cut(polygon) {
  const rings = polygon.map(unrolled);
  return [-1, 0, 1].flatMap((turn) => {
    const west = -180 + 360 * turn;
    const world = [[west, -90], [west + 360, -90], [west + 360, 90], [west, 90], [west, -90]];
    const inside = polygonClipping.intersection(rings, [world]);
    return inside.map((each) => each.map((ring) => ring.map(([x, y]) => [x - 360 * turn, y])));
  });
}

const isOver = (polygon) => polygon[0].some(([x], place) => place > 0 && Math.abs(x - polygon[0][place - 1][0]) > 180);
const rounded = (value, digits) => (Array.isArray(value) ? value.map((each) => rounded(each, digits)) : Number(value.toFixed(digits)));

async function write(name, geometries, digits) {
  const features = geometries.map((each) => ({
    type: "Feature",
    properties: {},
    geometry: { ...each, coordinates: rounded(each.coordinates, digits) },
  }));
  await writeFile(new URL(`../src/map/${name}.json`, import.meta.url), JSON.stringify({ type: "FeatureCollection", features }));
}

function land(topology) {
  const found = feature(topology, topology.objects.land);
  const polygons = (found.features ?? [found]).flatMap(({ geometry }) => (geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates));
  return polygons.flatMap((each) => (isOver(each) ? cut(each) : [each])).map((coordinates) => ({ type: "Polygon", coordinates }));
}

function borders(topology) {
  const lines = mesh(topology, topology.objects.countries, (a, b) => a !== b);
  const isApart = (line) => line.some(([x], place) => place > 0 && Math.abs(x - line[place - 1][0]) > 180);
  return [{ ...lines, coordinates: lines.coordinates.filter((line) => !isApart(line)) }];
}

const [coarse, fine] = [await atlas("land-110m"), await atlas("countries-50m")];
await write("land_coarse", land(coarse), 2);
await write("land_fine", land(fine), 3);
await write("borders", borders(fine), 3);
