// When the hits were acquired: a bar for each month, or year where there are many.
import type { JSX } from "preact";
import { answer, change, query, shown } from "../state/store";
import { counted, number } from "./format";
import { daysOf, periodsOf } from "./periods";

export function Timeline(): JSX.Element | null {
  const found = answer.value;
  if (!found) return null;
  const periods = periodsOf(found.times, shown.value);
  if (periods.length < 2) return null; // one bar says nothing
  const only = found.watched ? "" : ". Only these";
  const most = Math.max(...periods.map(({ count }) => count));
  const choose = (name: string): void => {
    const [from, to] = daysOf(name);
    change({ from, to, cutoff: null });
  };
  return (
    <section class="timeline" aria-labelledby="timeline-title">
      <header class="head">
        <h2 id="timeline-title">Date</h2>
        <p class="status">{`${periods[0]!.name} to ${periods.at(-1)!.name}`}</p>
        {(query.value.from || query.value.to) && <button class="link" onClick={() => change({ from: "", to: "", cutoff: null })}>All dates</button>}
      </header>
      <div class="periods">
        {periods.map(({ name, count }) => (
          <button
            key={name}
            disabled={count === 0 || found.watched !== undefined}
            title={`${name}: ${number(count)}${only}`}
            aria-label={`${name}: ${counted(count, "chip")}${only}`}
            onClick={() => choose(name)}
          >
            <span style={{ height: `${count ? Math.max(4, (count / most) * 100) : 0}%` }} />
          </button>
        ))}
      </div>
    </section>
  );
}
