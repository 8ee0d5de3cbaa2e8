// What is typed into the field of the example: coordinates, a chip's id or a code.
export type Found = { place: [number, number] } | { id: string } | { code: string } | { why: string };

const ID = /^[0-9a-f]{24}$/i;
const CODE = /^([0-9a-f]{2}){2,128}$/i;

/** Return what a text names; `place` is longitude, latitude. */
export function parseFind(text: string): Found {
  const trimmed = text.trim();
  if (!trimmed) return { why: "Write a latitude and a longitude, such as -3.1, -62.2." };
  if (ID.test(trimmed)) return { id: trimmed.toLowerCase() };
  if (CODE.test(trimmed)) return { code: trimmed.toLowerCase() };
  const parts = trimmed.split(/\s*[,;]\s*|\s+(?=[-+\d])/).filter(Boolean);
  if (parts.length !== 2) return { why: "Write two numbers: latitude, then longitude, such as -3.1, -62.2." };
  const values = parts.map(degreesOf);
  const [first, second] = values as [number, number];
  if (!values.every(Number.isFinite)) return { why: "Write degrees, such as -3.1, -62.2 or 3.1 S, 62.2 W." };
  const isEastFirst = /[EW]/i.test(parts[0]!) || /[NS]/i.test(parts[1]!);
  const [latitude, longitude] = isEastFirst ? [second, first] : [first, second];
  if (Math.abs(latitude) > 90) return { why: "The first number is the latitude, from -90 to 90. Is it the other way round?" };
  if (Math.abs(longitude) > 180) return { why: "The second number is the longitude, from -180 to 180." };
  return { place: [longitude, latitude] };
}

function degreesOf(text: string): number {
  const found = /^([-+]?\d+(?:\.\d+)?)\s*°?\s*([NSEW])?$/i.exec(text);
  if (!found) return NaN;
  return Number(found[1]) * (/[SW]/i.test(found[2] ?? "") ? -1 : 1);
}
