// A query as text: for curl, Python, SQL and a watch; and answers as files.
import { LARGEST_PAGE, filtersOf, limitsOf, questionOf, type Query } from "../state/query";
import type { BBox } from "../map/regions";
import type { Answer } from "../api/search";

const WATCHED = 12; // bits: the radius of a watch where the page has none
const KEY = "$SCENEHASH_KEY";

type Parts = Answer["parts"];

/** Return the body of the search that the page makes, as the API takes it, for an answer of one page. */
export function bodyOf(query: Query): Record<string, unknown> {
  return { ...questionOf(query), ...limitsOf(query), limit: query.cutoff === null ? query.most : LARGEST_PAGE };
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'"'"'`)}'`;
/** Quoted where a shell needs it: people follow links with queries of others. */
const word = (text: string): string => (/^[\w.,:/-]+$/.test(text) ? text : quoted(text));

/** Return the search as a command of curl. */
export function asCurl(query: Query, service: string, withKey: boolean): string {
  const header = withKey ? ` \\\n  -H "Authorization: Bearer ${KEY}"` : "";
  return `curl ${quoted(`${service}/v1/search`)}${header} \\\n  --json ${quoted(JSON.stringify(bodyOf(query)))}`;
}

/** Return the search as Python: all pages of it. */
export function asPython(query: Query, service: string, withKey: boolean): string {
  const body = Object.entries(bodyOf(query)).map(([name, value]) => `    ${name}=${literal(value)},`);
  return [
    ...(withKey ? ["import os", ""] : []),
    "from pipelines.client import Client, SearchRequest",
    "",
    `request = SearchRequest(\n${body.join("\n")}\n)`,
    `with Client(${literal(service)}${withKey ? ', os.environ["SCENEHASH_KEY"]' : ""}) as scenehash:`,
    "    for page in scenehash.pages(request):",
    "        for match in page.features:",
    "            print(match.properties.distance, match.id, match.bbox)",
  ].join("\n");
}

function literal(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, each]) => `${literal(name)}: ${literal(each)}`).join(", ")}}`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/**
 * Return the search as DuckDB's SQL over the table. `parts`: of the codes, as the answer says; `modelId`: of the model
 * that the answer's codes are of.
 */
export function asSql(query: Query, parts: Parts, modelId = ""): string {
  const conditions = [
    ...ofModel("b", modelId),
    ...(query.positive.length ? [`b.chip_id NOT IN (${listed([...query.positive, ...query.negative])})`] : []),
    ...filterConditions(query),
    ...(query.cutoff === null ? [] : [`distance <= ${Math.floor(query.cutoff)}`]),
  ];
  const version = query.snapshot === null ? "the published version" : `version ${query.snapshot}`;
  const notes = [
    `-- codes: ${version} of the table, as the guide on queries opens it.`,
    ...(modelId ? [] : ["-- If the table has codes of several models, add model_id = '...' for a and for b."]),
    ...(query.weights ? ["-- The picture's bits have weights of their own in the page; here they count alike."] : []),
    ...(query.region && "geometry" in query.region ? ["-- The drawn area isn't in it: DuckDB's extension `spatial` has ST_Intersects."] : []),
  ];
  // at one distance the part that isn't compared decides
  const isTied = parts.some(({ weight }) => weight === 0);
  const others = parts.map((part) => ({ ...part, weight: part.weight === 0 ? 1 : 0 }));
  const columns = [
    "b.chip_id, b.datetime, b.collection",
    `${distanceTo(query, parts, modelId)} AS distance`,
    ...(isTied ? [`${distanceTo(query, others, modelId)} AS tie`] : []),
  ];
  return [
    ...notes,
    `SELECT ${columns.join(",\n       ")}`,
    "FROM codes b",
    ...(conditions.length ? [`WHERE ${conditions.join("\n  AND ")}`] : []),
    `ORDER BY distance, ${isTied ? "tie, " : ""}b.chip_id`,
    ...(query.cutoff === null ? [`LIMIT ${query.most}`] : []),
  ].join("\n");
}

const sqlText = (value: string): string => `'${value.replaceAll("'", "''")}'`;
const listed = (values: readonly string[]): string => values.map(sqlText).join(", ");
const ofModel = (row: string, modelId: string): string[] => (modelId ? [`${row}.model_id = ${sqlText(modelId)}`] : []);

/** Return how far a row is from the examples: the mean to those for, less the mean to those against. */
function distanceTo(query: Query, parts: Parts, modelId: string): string {
  if (!query.positive.length) return differing(parts, `from_hex(${sqlText(query.code)})`);
  const mean = (ids: readonly string[]): string => {
    const which = [...ofModel("a", modelId), `a.chip_id IN (${listed(ids)})`].join(" AND ");
    return `(SELECT avg(${differing(parts, "a.code")}) FROM codes a WHERE ${which})`;
  };
  if (!query.negative.length) return mean(query.positive);
  // rounded: chips at one distance must be equal, and means of three, say, have errors in their last digit
  return `round(${mean(query.positive)}\n       - ${mean(query.negative)}, 9)`;
}

/** Return the distance of two codes: for each part its weight times the bits that differ. */
function differing(parts: Parts, code: string): string {
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

function filterConditions(query: Query): string[] {
  const { bbox, collections, min_valid_fraction } = filtersOf(query);
  const midnight = (day: string): string => `TIMESTAMPTZ '${day} 00:00:00+00'`;
  return [
    ...(bbox ? boxConditions(bbox) : []),
    ...(query.from ? [`b.datetime >= ${midnight(query.from)}`] : []),
    ...(query.to ? [`b.datetime < ${midnight(dayAfter(query.to))}`] : []),
    ...(collections ? [`b.collection IN (${listed(collections)})`] : []),
    ...(min_valid_fraction ? [`b.valid_fraction >= ${min_valid_fraction}::FLOAT`] : []),
  ];
}

/** Return when a chip touches a box. A box with west > east, a chip's too, lies over the antimeridian. */
function boxConditions([west, south, east, north]: BBox): string[] {
  const [begins, ends] = [`b.bbox.xmin <= ${east}`, `b.bbox.xmax >= ${west}`];
  const [plain, over] = west <= east ? [`${begins} AND ${ends}`, `${begins} OR ${ends}`] : [`${begins} OR ${ends}`, "TRUE"];
  return [
    `CASE WHEN b.bbox.xmin <= b.bbox.xmax THEN ${plain} ELSE ${over} END`,
    `b.bbox.ymin <= ${north} AND b.bbox.ymax >= ${south}`,
  ];
}

function dayAfter(day: string): string {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + 1);
  return date.toISOString().slice(0, 10);
}

/** Return the command that makes the query a watch: it reports what new nights bring near the example. */
export function asWatch(query: Query): string {
  const { bbox, intersects, datetime, collections, min_valid_fraction } = filtersOf(query);
  const example = query.positive.length
    ? query.positive.map((id) => `--chip-id ${word(id)}`)
    : [`--code ${word(query.code)}`];
  const flags = [
    '--watches "$WATCHES"',
    "--name my-watch",
    '--table "$TABLE"',
    ...example,
    `--max-distance ${query.cutoff === null || query.cutoff < 0 ? WATCHED : Math.floor(query.cutoff)}`,
    ...(query.compare === "both" ? [] : [`--compare ${query.compare}`]),
    ...(bbox ? [`--bbox=${bbox.join(",")}`] : []),
    ...(datetime ? [`--datetime ${word(datetime)}`] : []),
    ...(collections ?? []).map((each) => `--collection=${word(each)}`),
    ...(min_valid_fraction ? [`--min-valid-fraction ${min_valid_fraction}`] : []),
    // the job reads a file: what follows the command is one
    ...(intersects ? [`--intersects /dev/stdin <<'AREA'\n${JSON.stringify(intersects)}\nAREA`] : []),
  ];
  const notes = [
    ...(query.negative.length ? ["# A watch has no examples against: it looks for what is near those for."] : []),
    ...(query.weights ? ["# The picture's bits have weights of their own in the page; in a watch they count alike."] : []),
  ];
  return [...notes, `python -m jobs.watch add ${flags.join(" \\\n  ")}`].join("\n");
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
