// The months or years that hits were acquired in.

const MOST_BARS = 60;

export interface Period {
  readonly name: string;
  readonly count: number;
}

/** Return the periods from the first to the last, with how many of the times lie in each. */
export function periodsOf(times: readonly (string | null)[], count: number): Period[] {
  const dated = times.slice(0, count).filter((time): time is string => time !== null);
  const months = new Set(dated.map((time) => time.slice(0, 7)));
  const [first, last] = [[...months].sort()[0], [...months].sort().at(-1)];
  if (!first || !last) return [];
  const span = monthNumber(last) - monthNumber(first) + 1;
  const length = span > MOST_BARS ? 4 : 7; // of "2024" or "2024-05"
  const found = new Map<string, number>();
  for (const time of dated) found.set(time.slice(0, length), (found.get(time.slice(0, length)) ?? 0) + 1);
  const names = length === 4 ? years(first, last) : Array.from({ length: span }, (_, step) => monthName(monthNumber(first) + step));
  return names.map((name) => ({ name, count: found.get(name) ?? 0 }));
}

const monthNumber = (month: string): number => Number(month.slice(0, 4)) * 12 + Number(month.slice(5, 7)) - 1;
const monthName = (value: number): string => `${String(Math.floor(value / 12)).padStart(4, "0")}-${String((value % 12) + 1).padStart(2, "0")}`;
const years = (first: string, last: string): string[] =>
  Array.from({ length: Number(last.slice(0, 4)) - Number(first.slice(0, 4)) + 1 }, (_, step) => String(Number(first.slice(0, 4)) + step));

/** Return first and last day of a month or year. */
export function daysOf(name: string): [string, string] {
  if (name.length === 4) return [`${name}-01-01`, `${name}-12-31`];
  const [year, month] = name.split("-").map(Number) as [number, number];
  return [`${name}-01`, `${name}-${new Date(Date.UTC(year, month, 0)).getUTCDate()}`];
}

/** Return the first day of the first of some periods, and the last day of the last. */
export const chosenDays = (periods: readonly Period[]): [string, string] => [daysOf(periods[0]!.name)[0], daysOf(periods.at(-1)!.name)[1]];
