// Labels: which chips of a query are examples for, and which are examples against.
import { MOST_EXAMPLES, type Query } from "./query";

export type Label = "for" | "against" | "none";

export const labelOf = (of: Query, id: string): Label =>
  of.positive.includes(id) ? "for" : of.negative.includes(id) ? "against" : "none";

/** Return a query with a chip as an example for, an example against, or none. */
export function labelled(of: Query, id: string, label: Label): Query {
  const positive = of.positive.filter((each) => each !== id);
  const negative = of.negative.filter((each) => each !== id);
  if (label === "for") positive.push(id);
  if (label === "against") negative.push(id);
  // the service takes chips or a code, not both; and examples against only with examples for
  const withoutCode = positive.length ? { code: "", weights: "" } : {};
  return { ...of, ...withoutCode, positive, negative, cutoff: null, watch: "", night: null };
}

/** How many more examples of a kind the service takes. */
const roomFor = (of: Query, as: "for" | "against"): number => Math.max(0, MOST_EXAMPLES - (as === "for" ? of.positive : of.negative).length);

/** Whether a query has as many examples of a kind as the service takes. */
export const isFull = (of: Query, as: "for" | "against"): boolean => roomFor(of, as) === 0;

/** Return a query with some chips as examples more, the first of them where these are too many; and how many. */
export function allLabelled(of: Query, ids: readonly string[], as: "for" | "against"): { query: Query; taken: number } {
  const taken = ids.slice(0, roomFor(of, as));
  return { query: taken.reduce((next, id) => labelled(next, id, as), of), taken: taken.length };
}
