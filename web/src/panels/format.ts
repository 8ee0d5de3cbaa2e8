// Numbers, dates and places as people read them.
import { degrees, type BBox } from "../map/regions";
import { centreOf } from "../state/places";

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const DAY = new Intl.DateTimeFormat("en", { year: "numeric", month: "short", day: "numeric", timeZone: "UTC" });

/** Return a number with a real minus sign. */
export const number = (value: number): string => NUMBER.format(value).replace("-", "−");

/** Return "1 chip" or "2 chips". */
export const counted = (count: number, one: string, many = `${one}s`): string => `${number(count)} ${count === 1 ? one : many}`;

/** Return a time as a day, such as 31 May 2024. */
export const day = (time: string | null): string => (time ? DAY.format(new Date(time)) : "no date");

/** Return the centre of a box, such as 3.1° S, 62.2° W. */
export function placeOf(box: BBox | null | undefined): string {
  if (!box) return "no place";
  const [x, y] = centreOf(box);
  return `${degrees(round(y), "S", "N")}, ${degrees(round(x > 180 ? x - 360 : x), "W", "E")}`;
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** Return what the service says, which begins in lower case and has no full stop, as sentences. */
export function sentences(...said: string[]): string {
  return said
    .filter(Boolean)
    .map((each) => `${each[0]!.toUpperCase()}${each.slice(1)}${/[.!?]$/.test(each) ? "" : "."}`)
    .join(" ");
}
