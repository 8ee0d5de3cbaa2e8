// Two dates of a place, one over the other, with an edge to move between them.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { Picture } from "../grid/picture";

interface Props {
  readonly before: string;
  readonly after: string;
  readonly beforeName: string;
  readonly afterName: string;
}

export function Swipe({ before, after, beforeName, afterName }: Props): JSX.Element {
  const [edge, setEdge] = useState(50);
  return (
    <figure class="swipe">
      <div class="layers">
        <Picture id={before} size={256} alt={`On ${beforeName}`} />
        <div class="over" style={{ clipPath: `inset(0 0 0 ${edge}%)` }}>
          <Picture id={after} size={256} alt={`On ${afterName}`} />
        </div>
        <span class="edge" style={{ left: `${edge}%` }} />
        <input type="range" min="0" max="100" value={edge} aria-label="Edge between the two dates" aria-valuetext={`${edge} % of ${beforeName}`} onInput={(event) => setEdge(Number(event.currentTarget.value))} />
      </div>
      <figcaption>
        <span>{beforeName}</span>
        <span>{afterName}</span>
      </figcaption>
    </figure>
  );
}
