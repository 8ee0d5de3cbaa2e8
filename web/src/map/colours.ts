// The colours of distances, the same on the map, in the histogram and on cards: near stands out, far recedes.
const LIGHT = ["#8f1346", "#c8312f", "#ea7325", "#f3b04f", "#f2dba0"];
const DARK = ["#fff0b8", "#ffc24b", "#f07a2b", "#b63a45", "#5f2a55"];

export const ramp = (isDark: boolean): readonly string[] => (isDark ? DARK : LIGHT);

/** Return the colour of a distance between the least and the greatest that are shown. */
export function colourOf(distance: number, least: number, greatest: number, isDark: boolean): string {
  const colours = ramp(isDark);
  const share = greatest > least ? Math.min(Math.max((distance - least) / (greatest - least), 0), 1) : 0;
  const place = share * (colours.length - 1);
  const first = Math.min(Math.floor(place), colours.length - 2);
  return mixed(colours[first]!, colours[first + 1]!, place - first);
}

function mixed(from: string, to: string, share: number): string {
  const [a, b] = [channels(from), channels(to)];
  return `rgb(${a.map((value, place) => Math.round(value + (b[place]! - value) * share)).join(", ")})`;
}

/** Opacity of a cell of the archive: with one chip, with ten, and so on to 10,000 and more. */
export const SHADES: readonly number[] = [0.12, 0.19, 0.26, 0.33, 0.4];

const channels = (hex: string): number[] => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));

/** Return a colour's red, green and blue, each 0..1, as graphics cards take them. */
export const rgbOf = (hex: string): number[] => channels(hex).map((value) => value / 255);
