import { describe, expect, test } from "vitest";
import { EMPTY } from "../state/query";
import { asCsv, asCurl, asPython, asSql, asWatch } from "./export_text";

// tests/pipelines/serve/test_export_text.py runs the texts; here is what it can't see
describe("a query elsewhere", () => {
  const query = { ...EMPTY, positive: ["a1"], negative: ["b2"], cutoff: 12.5, collections: ["it's"], region: { bbox: [1, 2, 3, 4] as const } };
  test("for a shell nothing is left unquoted", () => {
    expect(asCurl(query, "http://x", true)).toContain(
      `'{"compare":"both","bbox":[1,2,3,4],"collections":["it'"'"'s"],"chip_ids":["a1"],"negative_ids":["b2"],"max_distance":12,"limit":10000}'`,
    );
    expect(asCurl(query, "http://x", false)).not.toContain("Authorization");
    expect(asWatch({ ...query, positive: ["$(reboot)", "a'b"] })).toContain(`--chip-id '$(reboot)' \\\n  --chip-id 'a'"'"'b' \\\n`);
  });
  test("a watch says what it can't hold", () => {
    expect(asWatch(query)).toContain("# A watch has no examples against");
    expect(asWatch({ ...EMPTY, code: "00", weights: "88888888" })).toContain("# The picture's bits have weights");
    expect(asWatch({ ...query, cutoff: -3 })).toContain("--max-distance 12");
  });
  test("Python has Python's values", () => {
    expect(asPython(query, "http://x", true)).toContain('    chip_ids=["a1"],\n');
    expect(asPython(query, "http://x", true)).toContain('os.environ["SCENEHASH_KEY"]');
  });
  test("SQL weighs the parts, of one model", () => {
    const parts = [{ name: "kind", bits: 64, weight: 2 }, { name: "look", bits: 128, weight: 1 }];
    const sql = asSql(query, parts, "m'1");
    expect(sql).toContain("2 * bit_count(xor((a.code)[1:8]::BIT, b.code[1:8]::BIT)) + bit_count(xor((a.code)[9:24]::BIT, b.code[9:24]::BIT))");
    expect(sql).toContain("'it''s'");
    expect(sql.match(/model_id = 'm''1'/g)).toHaveLength(3);
    expect(asSql(query, parts)).toContain("add model_id = '...' for a and for b");
  });
  test("SQL says which version, and what it leaves out", () => {
    const area = { type: "Polygon" as const, coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] };
    const sql = asSql({ ...EMPTY, code: "00", weights: "88888888", snapshot: 7, region: { geometry: area } }, []);
    expect(sql).toContain("version 7 of the table");
    expect(sql).toContain("weights of their own");
    expect(sql).toContain("The drawn area isn't in it");
  });
  test("CSV quotes what needs it", () => {
    const answer = { ids: ["a"], distances: [3], boxes: [null], times: [null], collections: ['one, "two"'] };
    expect(asCsv(answer as never, 1)).toBe('rank,chip_id,distance,west,south,east,north,datetime,collection\r\n1,a,3,,,,,,"one, ""two"""\r\n');
  });
});
