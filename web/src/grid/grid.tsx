// The results, nearest first. Only cards in sight are in the document, with some rows above and below.
import type { JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { answer, focused, loadMore, places, shown } from "../state/store";
import { Card } from "./card";
import { GAP, layoutOf } from "./layout";
import { Results } from "./results_head";

export function Grid(): JSX.Element {
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ width: 400, height: 600, scrolled: 0 });
  const found = answer.value;
  const list = places.value;
  const { columns, rowHeight, first, last } = layoutOf(view.width, view.height, view.scrolled, list.length);

  useLayoutEffect(() => {
    const element = scroller.current!;
    const measure = (): void => setView({ width: element.clientWidth - 24, height: element.clientHeight, scrolled: element.scrollTop });
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, []);
  useEffect(() => scroller.current?.scrollTo({ top: 0 }), [found?.ids[0], found?.snapshot, found?.matched]);
  // the card that had the focus goes when its chip becomes an example: the one in its place takes it; so does the first
  // card when Stop or a state's button goes, as there is an answer
  const held = useRef(-1);
  useEffect(() => {
    if (held.current >= 0 && document.activeElement === document.body && list.length) moveTo(Math.min(held.current, list.length - 1));
  }, [found]);
  const onFocusIn = (event: FocusEvent): void => {
    const row = Number((event.target as HTMLElement).dataset["row"] ?? "NaN");
    const goesWithTheAnswer = (event.target as HTMLElement).closest(".state, .late") !== null;
    held.current = goesWithTheAnswer ? 0 : list.findIndex((each) => each.row === row);
  };
  const onFocusOut = (event: FocusEvent): void => {
    if (event.relatedTarget) held.current = -1;
  };
  useEffect(() => {
    const isNearEnd = last * columns >= list.length;
    if (found?.next && isNearEnd && shown.value === found.ids.length) void loadMore();
  }, [last, list.length, found]);

  const moveTo = (position: number): void => {
    const target = list[position];
    const element = scroller.current;
    if (!target || !element) return;
    const top = Math.floor(position / columns) * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    if (top + rowHeight > element.scrollTop + element.clientHeight) element.scrollTop = top + rowHeight - element.clientHeight + 24;
    focused.value = target.row;
    requestAnimationFrame(() => requestAnimationFrame(() => element.querySelector<HTMLElement>(`[data-row="${target.row}"]`)?.focus()));
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const steps: Record<string, number> = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const row = Number((event.target as HTMLElement).dataset["row"] ?? "NaN");
    const position = list.findIndex((each) => each.row === row);
    if (position < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const target = event.key === "Home" ? 0 : event.key === "End" ? list.length - 1 : position + (steps[event.key] ?? NaN);
    if (Number.isNaN(target)) return;
    event.preventDefault();
    moveTo(Math.min(Math.max(target, 0), list.length - 1));
  };

  const least = found?.distances[0] ?? 0;
  const greatest = found?.distances[shown.value - 1] ?? 0;
  const inSight = list.slice(first * columns, last * columns);
  const tabStop = inSight.some((each) => each.row === focused.value) ? focused.value : inSight[0]?.row;
  return (
    <section class="results" aria-label="Results" onFocusIn={onFocusIn} onFocusOut={onFocusOut}>
      <Results />
      <div class="scroller" ref={scroller} onKeyDown={onKeyDown}>
        {found && list.length > 0 && (
          <ul
            class="cards"
            aria-label="Results, nearest first"
            style={{ paddingTop: `${first * rowHeight}px`, height: `${Math.ceil(list.length / columns) * rowHeight}px`, gridTemplateColumns: `repeat(${columns}, 1fr)`, gridAutoRows: `${rowHeight - GAP}px` }}
          >
            {inSight.map((place, offset) => (
              <Card
                key={found.ids[place.row]}
                answer={found}
                place={place}
                position={first * columns + offset}
                total={list.length}
                isTabStop={place.row === tabStop}
                least={least}
                greatest={greatest}
              />
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}
