// All pages of an answer, as files.
import { LARGEST_PAGE, limitsOf, questionOf, type Query } from "../state/query";
import { asCsv } from "../panels/export_text";
import { joined, search, type Answer } from "./search";
import { SERVICE, send } from "./client";

export type FileKind = "geojson" | "csv" | "parquet";
/** Is told how many chips are in the files so far. */
type Progress = (done: number) => void;
type Save = (file: Blob, name: string) => void;

const PAGE = 5000; // a page as GeoJSON is large

/** Hand each file to `save` as soon as it is whole; return how many there were: one, of GeoParquet one a page. */
export async function exportPages(query: Query, kind: FileKind, signal: AbortSignal, progress: Progress, save: Save): Promise<number> {
  if (kind === "parquet") return parquet(query, signal, progress, save);
  const [text, type] = kind === "csv" ? [await csv(query, signal, progress), "text/csv"] : [await geojson(query, signal, progress), "application/geo+json"];
  save(new Blob([text], { type }), `scenehash.${kind}`);
  return 1;
}

function ask(query: Query, accept: string, limit: number, signal: AbortSignal, token: string | undefined): Promise<Response> {
  const body = JSON.stringify({ ...questionOf(query), ...limitsOf(query), limit, ...(token ? { token } : {}) });
  const headers = { "Content-Type": "application/json", Accept: accept };
  return send(new Request(`${SERVICE}/v1/search`, { method: "POST", body, headers, signal }));
}

async function csv(query: Query, signal: AbortSignal, progress: Progress): Promise<string> {
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

async function geojson(query: Query, signal: AbortSignal, progress: Progress): Promise<string> {
  const features: unknown[] = [];
  let token: string | undefined;
  let info: unknown;
  do {
    const page = (await (await ask(query, "application/geo+json", PAGE, signal, token)).json()) as Page;
    for (const each of page.features) features.push(each);
    info ??= page.search;
    token = page.links[0]?.body.token;
    progress(features.length);
  } while (token);
  return JSON.stringify({ type: "FeatureCollection", features, search: info });
}

async function parquet(query: Query, signal: AbortSignal, progress: Progress, save: Save): Promise<number> {
  let token: string | undefined;
  let [files, chips] = [0, 0];
  do {
    const file = await (await ask(query, "application/vnd.apache.parquet", LARGEST_PAGE, signal, token)).blob();
    const footer = await footerOf(file);
    token = /"token":"([^"]+)"/.exec(footer)?.[1];
    chips += Number(/"numberReturned":(\d+)/.exec(footer)?.[1]);
    const isOnly = files === 0 && !token;
    files++;
    save(file, isOnly ? "scenehash.parquet" : `scenehash-${files}.parquet`);
    progress(chips);
  } while (token);
  return files;
}

/** Return the footer of a Parquet file as text: among other bytes it has what the answer says beside its chips, as JSON. */
async function footerOf(file: Blob): Promise<string> {
  const ending = 8; // the footer's length and a magic number
  const length = new DataView(await file.slice(-ending).arrayBuffer()).getUint32(0, true);
  return file.slice(-ending - length, -ending).text();
}
