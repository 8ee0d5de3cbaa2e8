// Where the examples are, so that the map can mark them: asked for once each.
import { computed, effect, signal } from "@preact/signals";
import { askPlace } from "../api/archive";
import type { BBox } from "../map/regions";
import { answer, query } from "./store";

export interface ExamplePlace {
  readonly as: "for" | "against";
  readonly box: BBox;
}

/** The places of the examples that have one. */
export const examplePlaces = signal<readonly ExamplePlace[]>([]);

const known = new Map<string, Promise<BBox | null>>();
const examples = computed(() => JSON.stringify([query.value.positive, query.value.negative]));

/** Keep the places as the examples are. */
export function followExamples(): void {
  effect(() => {
    const asked = examples.value;
    const [positive, negative] = JSON.parse(asked) as [string[], string[]];
    void Promise.all([...positive.map((id) => placed(id, "for")), ...negative.map((id) => placed(id, "against"))]).then((found) => {
      if (examples.value === asked) examplePlaces.value = found.filter((each) => each !== null);
    });
  });
}

async function placed(id: string, as: "for" | "against"): Promise<ExamplePlace | null> {
  const box = await placeOnce(id);
  return box && { as, box };
}

function placeOnce(id: string): Promise<BBox | null> {
  const asked = known.get(id) ?? placeInAnswer(id) ?? askPlace(id, query.peek().snapshot);
  known.set(id, asked);
  return asked.catch(() => {
    known.delete(id); // the map is of use without the mark; the next change asks again
    return null;
  });
}

/** Return the place of a result, which most examples have been. */
function placeInAnswer(id: string): Promise<BBox | null> | null {
  const found = answer.peek();
  const row = found?.ids.indexOf(id) ?? -1;
  return found && row >= 0 ? Promise.resolve(found.boxes[row] ?? null) : null;
}
