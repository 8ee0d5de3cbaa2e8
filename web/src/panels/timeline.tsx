// When the hits were acquired: a bar for each month, or year where there are many. A click on one, or a drag over some,
// searches only these; the fields "From" and "To" do the same without a pointer.
import type { JSX, TargetedPointerEvent } from "preact";
import { useState } from "preact/hooks";
import { answer, change, query, shown } from "../state/store";
import { counted } from "./format";
import { chosenDays, type Period, periodsOf } from "./periods";

export function Timeline(): JSX.Element | null {
  const [begun, setBegun] = useState(-1); // the bar that a drag began at
  const [under, setUnder] = useState(-1); // the bar under the pointer
  const found = answer.value;
  if (!found) return null;
  const periods = periodsOf(found.times, shown.value);
  const isLimited = Boolean(query.value.from || query.value.to);
  if (periods.length < 2 && !isLimited) return null; // one bar says nothing
  const most = Math.max(...periods.map(({ count }) => count));
  const barAt = (event: TargetedPointerEvent<HTMLElement>): number => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const place = Math.floor(((event.clientX - left) / width) * periods.length);
    return Math.min(Math.max(place, 0), periods.length - 1);
  };
  const [first, last] = begun < 0 ? [under, under] : [Math.min(begun, under), Math.max(begun, under)];
  const pointed = periods.slice(Math.max(first, 0), last + 1);
  const choose = (): void => {
    setBegun(-1);
    if (begun < 0 || !pointed.length) return;
    const [from, to] = chosenDays(pointed);
    change({ from, to, cutoff: null });
  };
  return (
    <section class="timeline" aria-labelledby="timeline-title">
      <header class="head">
        <h2 id="timeline-title">Date</h2>
        <p class="status">{pointed.length ? nameOf(pointed) : rangeOf(periods)}</p>
        {isLimited && <button class="link" onClick={() => change({ from: "", to: "", cutoff: null })}>All dates</button>}
      </header>
      <div
        class={`periods ${found.watched ? "" : "choosable"}`}
        aria-hidden="true"
        onPointerMove={(event) => setUnder(barAt(event))}
        onPointerLeave={() => begun < 0 && setUnder(-1)}
        onPointerDown={(event) => {
          if (found.watched) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          setUnder(barAt(event));
          setBegun(barAt(event));
        }}
        onPointerUp={choose}
        onPointerCancel={() => setBegun(-1)}
      >
        {periods.map(({ name, count }, place) => (
          <span key={name} class={place >= first && place <= last ? "pointed" : ""}>
            <span style={{ height: `${count ? Math.max(4, (count / most) * 100) : 0}%` }} />
          </span>
        ))}
      </div>
    </section>
  );
}

const nameOf = (periods: readonly Period[]): string =>
  `${rangeOf(periods)}: ${counted(
    periods.reduce((total, { count }) => total + count, 0),
    "chip",
  )}`;

function rangeOf(periods: readonly Period[]): string {
  const [first, last] = [periods[0], periods.at(-1)];
  if (!first || !last) return "no hit has a date";
  return first === last ? first.name : `${first.name} to ${last.name}`;
}
