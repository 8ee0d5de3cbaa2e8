// A query as text: for curl, Python, SQL and a watch; and answers as files.
import { filtersOf, limitsOf, questionOf, type Query } from "../state/query";
import type { Answer } from "../api/search";

const WATCHED = 12; // bits: the radius of a watch where the page has none
const KEY = "$SCENEHASH_KEY";

/** Return the body of the search that the page makes, as the API takes it. */
export function bodyOf(query: Query): Record<string, unknown> {
  return { ...questionOf(query), ...limitsOf(query) };
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'"'"'`)}'`;

/** Return the search as a command of curl. */
export function asCurl(query: Query, service: string, withKey: boolean): string {
  const header = withKey ? ` \\\n  -H "Authorization: Bearer ${KEY}"` : "";
  return `curl ${quoted(`${service}/v1/search`)}${header} \\\n  --json ${quoted(JSON.stringify(bodyOf(query)))}`;
}

/** Return the search as Python. */
export function asPython(query: Query, service: string, withKey: boolean): string {
  const body = Object.entries(bodyOf(query)).map(([name, value]) => `    ${name}=${literal(value)},`);
  return [
    ...(withKey ? ["import os", ""] : []),
    "from pipelines.client import Client, SearchRequest",
    "",
    `request = SearchRequest(\n${body.join("\n")}\n)`,
    `with Client(${literal(service)}${withKey ? ', os.environ["SCENEHASH_KEY"]' : ""}) as scenehash:`,
    "    for match in scenehash.search(request).features:",
    "        print(match.properties.distance, match.id, match.bbox)",
  ].join("\n");
}

function literal(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, each]) => `${literal(name)}: ${literal(each)}`).join(", ")}}`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** Return the search as DuckDB's SQL over the table. `parts`: of the codes, as the answer says. */
export function asSql(query: Query, parts: Answer["parts"]): string {
  const { bbox, datetime, collections, min_valid_fraction } = filtersOf(query);
  const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;
  const ids = (list: readonly string[]): string => list.map(text).join(", ");
  const mean = (list: readonly string[]): string =>
    `(SELECT avg(${differing(parts, "a.code")}) FROM codes a WHERE a.chip_id IN (${ids(list)}))`;
  const distance = query.positive.length
    ? mean(query.positive) + (query.negative.length ? `\n       - ${mean(query.negative)}` : "")
    : differing(parts, `from_hex(${text(query.code)})`);
  const conditions = [
    ...(query.positive.length ? [`b.chip_id NOT IN (${ids([...query.positive, ...query.negative])})`] : []),
    ...(bbox ? [bbox[0] <= bbox[2] ? `b.bbox.xmin <= ${bbox[2]} AND b.bbox.xmax >= ${bbox[0]}` : `(b.bbox.xmin <= ${bbox[2]} OR b.bbox.xmax >= ${bbox[0]})`, `b.bbox.ymin <= ${bbox[3]} AND b.bbox.ymax >= ${bbox[1]}`] : []),
    ...(datetime ? datetimeConditions(query) : []),
    ...(collections ? [`b.collection IN (${ids(collections)})`] : []),
    ...(min_valid_fraction ? [`b.valid_fraction >= ${min_valid_fraction}`] : []),
    ...(query.cutoff === null ? [] : [`distance <= ${query.cutoff}`]),
  ];
  const notes = [
    "-- codes: the published version of the table, as the guide on queries opens it.",
    ...(query.weights ? ["-- The picture's bits have weights of their own in the page; here they count alike."] : []),
    ...(query.region && "geometry" in query.region ? ["-- The drawn area isn't in it: DuckDB's extension `spatial` has ST_Intersects."] : []),
  ];
  const where = conditions.length ? `\nWHERE ${conditions.join("\n  AND ")}` : "";
  return `${notes.join("\n")}\nSELECT b.chip_id, b.datetime, b.collection,\n       ${distance} AS distance\nFROM codes b${where}\nORDER BY distance, b.chip_id${query.cutoff === null ? ` LIMIT ${query.most}` : ""}`;
}

/** Return the distance of two codes: for each part its weight times the bits that differ. */
function differing(parts: Answer["parts"], code: string): string {
  if (parts.length < 2) return `bit_count(xor(${code}::BIT, b.code::BIT))`;
  let start = 1;
  const terms = parts.flatMap(({ bits, weight }) => {
    const slice = `[${start}:${start + bits / 8 - 1}]`;
    start += bits / 8;
    const count = `bit_count(xor((${code})${slice}::BIT, b.code${slice}::BIT))`;
    return weight === 0 ? [] : [weight === 1 ? count : `${weight} * ${count}`];
  });
  return terms.join(" + ");
}

function datetimeConditions({ from, to }: Query): string[] {
  return [...(from ? [`b.datetime >= '${from}'`] : []), ...(to ? [`b.datetime < DATE '${to}' + 1`] : [])];
}

/** Return the command that makes the query a watch: it reports what new nights bring near the example. */
export function asWatch(query: Query): string {
  const { bbox, datetime, collections, min_valid_fraction } = filtersOf(query);
  const example = query.positive.length
    ? query.positive.map((id) => `--chip-id ${id}`)
    : [`--code ${query.code}`];
  const flags = [
    '--watches "$WATCHES"',
    "--name my-watch",
    '--table "$TABLE"',
    ...example,
    `--max-distance ${query.cutoff === null || query.cutoff < 0 ? WATCHED : Math.floor(query.cutoff)}`,
    ...(query.compare === "both" ? [] : [`--compare ${query.compare}`]),
    ...(bbox ? [`--bbox=${bbox.join(",")}`] : []),
    ...(query.region && "geometry" in query.region ? ["--intersects region.geojson"] : []),
    ...(datetime ? [`--datetime ${quoted(datetime)}`] : []),
    ...(collections ?? []).map((each) => `--collection ${quoted(each)}`),
    ...(min_valid_fraction ? [`--min-valid-fraction ${min_valid_fraction}`] : []),
  ];
  const note = query.negative.length ? "# A watch has no examples against: it looks for what is near those for.\n" : "";
  return `${note}python -m jobs.watch add ${flags.join(" \\\n  ")}`;
}

/** Return the first rows of an answer as CSV (RFC 4180). */
export function asCsv(answer: Answer, count: number): string {
  const cell = (value: string): string => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = ["rank,chip_id,distance,west,south,east,north,datetime,collection"];
  for (let row = 0; row < count; row++) {
    const box = answer.boxes[row] ?? ["", "", "", ""];
    lines.push([row + 1, answer.ids[row]!, answer.distances[row]!, ...box, answer.times[row] ?? "", answer.collections[row] ?? ""].map((value) => cell(String(value))).join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}
