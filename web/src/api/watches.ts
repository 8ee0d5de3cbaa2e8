// Watches, and the hits of past nights.
import type { Query } from "../state/query";
import { answerOf } from "../state/watch_values";
import { get, type Schemas } from "./client";
import type { Answer } from "./search";

export type Watch = Schemas["WatchSummary"];
export type Hit = Schemas["Hit"];
export type Night = Schemas["NightOfHits"];
type Page = Schemas["HitsAnswer"];

const PAGE = 2000;
const MOST = 10_000;

/** Return all watches that the service shows. */
export const askWatches = (): Promise<Schemas["WatchesAnswer"]> => get("/v1/watches");

/** Return the hits of the query's watch, those of the newest nights if there are very many. */
export async function askHits({ watch, night }: Query, signal: AbortSignal): Promise<Answer> {
  const only = night === null ? "" : `&from_publication=${night}&to_publication=${night}`;
  let path: string | undefined = `/v1/watches/${encodeURIComponent(watch)}/hits?limit=${PAGE}${only}`;
  const hits: Hit[] = [];
  let nights: readonly Night[] = [];
  while (path && hits.length < MOST) {
    const page: Page = await get(path, signal);
    hits.push(...page.features);
    nights = page.nights;
    path = page.links?.[0]?.href;
  }
  return answerOf(watch, hits, nights, path === undefined);
}
