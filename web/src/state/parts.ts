// Why a chip is near: in which part of its code how many bits differ.
import type { Answer } from "../api/search";
import { number } from "../panels/format";

/** Return the distance of a row as that of its parts, such as "kind 3 × 2 + look 7"; "" if codes have one part. */
export function partsOf({ parts, partDistances, distances }: Answer, row: number): string {
  const terms = parts.map((part, place) => ({ ...part, bits: partDistances[place]?.[row] ?? 0 }));
  if (!partDistances.length) return "";
  const sum = terms.reduce((before, { bits, weight }) => before + bits * weight, 0);
  // the bits of a picture have weights of their own: then the parts don't make up the distance
  if (Math.abs(sum - distances[row]!) > 0.01) return `Bits that differ: ${terms.map(({ name, bits }) => `${name} ${number(bits)}`).join(", ")}`;
  const counted = terms.filter(({ weight }) => weight > 0).map(({ name, bits, weight }) => `${name} ${number(bits)}${weight === 1 ? "" : ` × ${weight}`}`);
  const others = terms.filter(({ weight }) => weight === 0).map(({ name, bits }) => `; ${name} ${number(bits)} isn’t compared`);
  return counted.join(" + ") + others.join("");
}
