// All pages of an answer, as one file.
import { limitsOf, questionOf, type Query } from "../state/query";
import { asCsv } from "../panels/export_text";
import { joined, search, type Answer } from "./search";
import { SERVICE, send } from "./client";

export type FileKind = "geojson" | "csv" | "parquet";

const PAGE = 5000;

/** Return the file. `progress` is told how many chips are in it so far. */
export async function exportPages(query: Query, kind: FileKind, signal: AbortSignal, progress: (done: number) => void): Promise<Blob> {
  if (kind === "csv") return new Blob([await csv(query, signal, progress)], { type: "text/csv" });
  if (kind === "parquet") return new Blob([await (await ask(query, "application/vnd.apache.parquet", signal)).arrayBuffer()]);
  return new Blob([await geojson(query, signal, progress)], { type: "application/geo+json" });
}

function ask(query: Query, accept: string, signal: AbortSignal, more: object = {}): Promise<Response> {
  const body = JSON.stringify({ ...questionOf(query), ...limitsOf(query), limit: PAGE, ...more });
  const headers = { "Content-Type": "application/json", Accept: accept };
  return send(new Request(`${SERVICE}/v1/search`, { method: "POST", body, headers, signal }));
}

async function csv(query: Query, signal: AbortSignal, progress: (done: number) => void): Promise<string> {
  let all: Answer = await search(query, signal);
  progress(all.ids.length);
  while (all.next) {
    all = joined(all, await search(query, signal, all.next));
    progress(all.ids.length);
  }
  return asCsv(all, all.ids.length);
}

interface Page {
  features: unknown[];
  links: { body: { token?: string } }[];
  search: unknown;
}

async function geojson(query: Query, signal: AbortSignal, progress: (done: number) => void): Promise<string> {
  const features: unknown[] = [];
  let token: string | undefined;
  let info: unknown;
  do {
    const page = (await (await ask(query, "application/geo+json", signal, token ? { token } : {})).json()) as Page;
    features.push(...page.features);
    info ??= page.search;
    token = page.links[0]?.body.token;
    progress(features.length);
  } while (token);
  return JSON.stringify({ type: "FeatureCollection", features, search: info });
}
