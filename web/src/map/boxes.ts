// Boxes on the map, in a WebGL layer of the page's own: footprints, the archive's cells, the heat of a query.
// MapLibre's own layers cut shapes into tiles in a worker first; 10,000 boxes that change with each answer go
// straight to the graphics card here.
//
// Places are Web Mercator, 0..1 from the world's north-western corner. Graphics cards have numbers of 32 bits, too
// coarse for a pixel at zoom 18: a corner is two such numbers (coarse and rest), and is drawn relative to the centre.
import type { CustomLayerInterface, CustomRenderMethodInput, Map } from "maplibre-gl";
import { rgbOf } from "./colours";
import { FRAGMENT, VERTEX } from "./boxes_shaders";
import { placeOf } from "./mercator";
import type { BBox } from "./regions";

/** A box, its value on the scale of colours, and its opacity (0..1). */
export interface Box {
  readonly bbox: BBox;
  readonly value: number;
  readonly opacity: number;
}

/** How a layer's boxes look when they are small; lengths in pixels. */
export interface Dots {
  /** Boxes that are narrower than this are drawn as dots; 0: none is. */
  readonly below: number;
  readonly radius: number;
}

/** A box that stands out: drawn again on top, with a line around it. */
export interface Marked {
  readonly box: number;
  readonly line: number;
  readonly radius: number;
}

export const STEPS = 5; // colours of a scale
const NUMBERS = 8; // per corner: north-west (coarse x, y, rest x, y), width, height, value, opacity
const CORNERS = 4; // each has the numbers of its box: instances would be slow without a graphics card
const TRIANGLES = [0, 1, 2, 2, 1, 3] as const;
const UNIFORMS = ["matrix", "centre", "world", "dots_below", "radius", "range", "colours", "line_colour", "lines", "softness"] as const;

type Uniforms = Record<(typeof UNIFORMS)[number], WebGLUniformLocation | null>;

interface Program {
  readonly program: WebGLProgram;
  readonly at: Uniforms;
}

interface Drawn extends Program {
  readonly gl: WebGL2RenderingContext;
  readonly array: WebGLVertexArrayObject;
  readonly numbers: WebGLBuffer;
  readonly triangles: WebGLBuffer;
}

let programs = new WeakMap<WebGL2RenderingContext, Program>(); // all layers of a map share one

/** Compile anew: a graphics card that was reset has lost its programs. */
export const forgetPrograms = (): void => void (programs = new WeakMap());

export class Boxes implements CustomLayerInterface {
  readonly type = "custom";
  private map: Map | null = null;
  private drawn: Drawn | null = null;
  private isStale = true;
  private numbers = new Float32Array();
  private places = new Float64Array(); // per box: west, north, width, height
  private isOverEdge = false; // whether a box lies over the antimeridian
  private first = 0;
  private isVisible = true;
  private marks: readonly Marked[] = [];
  private colours = new Float32Array(3 * STEPS);
  private lineColours: readonly (readonly number[])[] = [[0, 0, 0], [0, 0, 0]]; // around dots, and around what stands out
  private range: readonly [number, number] = [0, 1];

  constructor(readonly id: string, private readonly dots: Dots) {}

  get count(): number {
    return this.places.length / 4;
  }

  /** Take other boxes; the last is drawn on top. */
  fill(boxes: readonly Box[]): void {
    this.numbers = new Float32Array(boxes.length * CORNERS * NUMBERS);
    this.isOverEdge = boxes.some(({ bbox: [west, , east] }) => west > east);
    this.places = new Float64Array(boxes.length * 4);
    boxes.forEach(({ bbox: [west, south, east, north], value, opacity }, box) => {
      const [x, y] = placeOf(west, north);
      const [end, bottom] = placeOf(west > east ? east + 360 : east, south);
      this.places.set([x, y, end - x, bottom - y], box * 4);
      const [coarseX, coarseY] = [Math.fround(x), Math.fround(y)];
      const numbers = [coarseX, coarseY, x - coarseX, y - coarseY, end - x, bottom - y, value, opacity];
      for (let corner = box * CORNERS; corner < (box + 1) * CORNERS; corner++) this.numbers.set(numbers, corner * NUMBERS);
    });
    this.first = 0;
    this.marks = [];
    this.isStale = true;
    this.map?.triggerRepaint();
  }

  /** Draw the boxes from this one on, and not those before. */
  showFrom(first: number): void {
    this.first = first;
    this.map?.triggerRepaint();
  }

  setVisible(isVisible: boolean): void {
    this.isVisible = isVisible;
    this.map?.triggerRepaint();
  }

  /** Colour values between `least` and `greatest` by a scale of `STEPS` colours; lines have colours of their own. */
  paint(scale: readonly string[], least: number, greatest: number, dotLine = "#000000", markLine = "#000000"): void {
    scale.forEach((colour, step) => this.colours.set(rgbOf(colour), 3 * step));
    this.lineColours = [rgbOf(dotLine), rgbOf(markLine)];
    this.range = [least, greatest];
    this.map?.triggerRepaint();
  }

  mark(marks: readonly Marked[]): void {
    this.marks = marks;
    this.map?.triggerRepaint();
  }

  /** Return the topmost box at a place, of those that are drawn; -1: none. `world`: the world's width in pixels. */
  at(longitude: number, latitude: number, world: number): number {
    if (!this.isVisible) return -1;
    const [x, y] = placeOf(longitude, latitude);
    for (let box = this.count - 1; box >= this.first; box--) {
      const [width, height] = [this.places[4 * box + 2]! * world, this.places[4 * box + 3]! * world];
      const east = (x - this.places[4 * box]!) * world - width / 2;
      const across = east - Math.round(east / world) * world; // whichever copy of the world it is in
      const down = (y - this.places[4 * box + 1]!) * world - height / 2;
      const isDot = width < this.dots.below;
      if (isDot ? Math.hypot(across, down) <= this.dots.radius : Math.abs(across) <= width / 2 && Math.abs(down) <= height / 2) return box;
    }
    return -1;
  }

  onAdd(map: Map): void {
    this.map = map;
    this.drawn = null;
    this.isStale = true;
  }

  onRemove(): void {
    this.drawn = null;
  }

  render(gl: WebGL2RenderingContext, { defaultProjectionData }: CustomRenderMethodInput): void {
    if (!this.map || !this.isVisible || this.first >= this.count) return;
    this.drawn ??= prepared(gl); // not before there is something to draw: compiling shaders takes a moment
    const { program, array, at } = this.drawn;
    const world = 512 * 2 ** this.map.getZoom();
    const centre = placeOf(this.map.getCenter().lng, this.map.getCenter().lat);
    gl.useProgram(program);
    gl.bindVertexArray(array);
    this.load();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.uniformMatrix4fv(at.matrix, false, movedTo(centre, defaultProjectionData.mainMatrix as ArrayLike<number>));
    gl.uniform1f(at.world, world);
    gl.uniform1f(at.dots_below, this.dots.below);
    gl.uniform1f(at.softness, this.dots.below ? 1 : 0); // cells that touch must not be soft at their edges
    gl.uniform2f(at.range, ...this.range);
    gl.uniform3fv(at.colours, this.colours);
    for (const turn of turnsInSight(this.map, this.isOverEdge)) {
      const x = centre[0] - turn;
      const coarse = [Math.fround(x), Math.fround(centre[1])] as const;
      gl.uniform4f(at.centre, ...coarse, x - coarse[0], centre[1] - coarse[1]);
      gl.uniform3fv(at.line_colour, this.lineColours[0]!);
      this.draw(this.first, this.count - this.first, this.dots.radius, [0.5, 0]);
      gl.uniform3fv(at.line_colour, this.lineColours[1]!);
      for (const { box, line, radius } of this.marks) if (box >= this.first) this.draw(box, 1, radius, [line, line]);
    }
    gl.bindVertexArray(null);
  }

  /** Draw boxes; `lines`: how wide the line around a dot is, and around a box [pixels]. */
  private draw(first: number, count: number, radius: number, lines: readonly [number, number]): void {
    const { gl, at } = this.drawn!;
    gl.uniform1f(at.radius, radius);
    gl.uniform2f(at.lines, ...lines);
    gl.drawElements(gl.TRIANGLES, count * TRIANGLES.length, gl.UNSIGNED_INT, first * TRIANGLES.length * 4);
  }

  /** Send the boxes to the graphics card if they are others. */
  private load(): void {
    if (!this.isStale) return;
    const { gl, numbers, triangles } = this.drawn!;
    gl.bindBuffer(gl.ARRAY_BUFFER, numbers);
    gl.bufferData(gl.ARRAY_BUFFER, this.numbers, gl.STATIC_DRAW);
    for (const [attribute, size, from] of [[0, 4, 0], [1, 2, 4], [2, 2, 6]] as const) {
      gl.enableVertexAttribArray(attribute);
      gl.vertexAttribPointer(attribute, size, gl.FLOAT, false, NUMBERS * 4, from * 4);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, triangles);
    const corners = Uint32Array.from({ length: this.count * TRIANGLES.length }, (_, place) => Math.floor(place / TRIANGLES.length) * CORNERS + TRIANGLES[place % TRIANGLES.length]!);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
    this.isStale = false;
  }
}

/** Return a matrix for places that are relative to the centre. */
function movedTo([x, y]: readonly [number, number], matrix: ArrayLike<number>): Float32Array {
  const moved = Float32Array.from(matrix);
  for (let row = 0; row < 4; row++) moved[12 + row] = matrix[row]! * x + matrix[4 + row]! * y + matrix[12 + row]!;
  return moved;
}

/** Return which copies of the world are in sight; what lies over the antimeridian belongs to the copy in its west. */
function turnsInSight(map: Map, isOverEdge: boolean): number[] {
  const bounds = map.getBounds();
  const from = Math.floor((bounds.getWest() + 180) / 360) - (isOverEdge ? 1 : 0);
  const to = Math.floor((bounds.getEast() + 180) / 360);
  return Array.from({ length: to - from + 1 }, (_, place) => from + place);
}

function prepared(gl: WebGL2RenderingContext): Drawn {
  const shared = programs.get(gl) ?? linked(gl);
  programs.set(gl, shared);
  return { gl, ...shared, array: gl.createVertexArray(), numbers: gl.createBuffer(), triangles: gl.createBuffer() };
}

function linked(gl: WebGL2RenderingContext): Program {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(`The map's shader: ${gl.getProgramInfoLog(program)}`);
  return { program, at: Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)])) as Uniforms };
}
