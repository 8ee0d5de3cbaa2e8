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

/** Return a query with some chips as examples more, the first of them where these are too many; and how many. */
export function allLabelled(of: Query, ids: readonly string[], as: "for" | "against"): { query: Query; taken: number } {
  const before = as === "for" ? of.positive : of.negative;
  const taken = ids.filter((id) => labelOf(of, id) !== as).slice(0, MOST_EXAMPLES - before.length);
  return { query: taken.reduce((next, id) => labelled(next, id, as), of), taken: taken.length };
}
