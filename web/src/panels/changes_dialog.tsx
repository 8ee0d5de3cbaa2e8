// "What changed most here": pairs of chips of one place and two dates, the most different first.
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { askChanges, type Change, type Changes } from "../api/archive";
import { type ApiError, asApiError, isAborted } from "../api/client";
import { Picture } from "../grid/picture";
import { theWorld } from "../map/map";
import { nameOf, type BBox } from "../map/regions";
import { visibleBox } from "../map/view";
import { centreOf } from "../state/places";
import { asksForKey } from "../state/session";
import { isNarrow } from "../state/width";
import { query, searchFrom } from "../state/store";
import { Dialog } from "./dialog";
import { counted, day, number, placeOf } from "./format";
import { Said } from "./notice";
import { Swipe } from "./swipe";

export const showsChanges = signal(false);

export function ChangesDialog(): JSX.Element {
  return (
    <Dialog title="What changed most" isOpen={showsChanges.value} onClose={() => (showsChanges.value = false)} wide>
      <Body />
    </Dialog>
  );
}

function Body(): JSX.Element {
  const [found, setFound] = useState<Changes | null>(null);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const [chosen, setChosen] = useState<Change | null>(null);
  const controller = useRef(new AbortController());
  const [years, setYears] = useState({ before: "", after: "" });
  const region = query.value.region;
  const view: BBox | null = region ? null : visibleBox.value;
  useEffect(() => {
    controller.current = new AbortController();
    setFound(null);
    setFailure(null);
    askChanges(query.value, years.before, years.after, view, controller.current.signal).then(setFound, (error: unknown) => {
      if (isAborted(error)) return;
      const said = asApiError(error);
      setFailure(said);
      if (said.status !== 401) return;
      showsChanges.value = false;
      asksForKey.value = true;
    });
    return () => controller.current.abort();
  }, [years.before, years.after]);
  if (chosen) return <Pair change={chosen} back={() => setChosen(null)} />;
  return (
    <>
      <form class="intervals" onSubmit={(event) => event.preventDefault()}>
        <p>Within {region ? nameOf(region) : "what the map shows"}, and the filters of the query.</p>
        <Interval name="Earlier" value={years.before} onChange={(before) => setYears({ ...years, before })} />
        <Interval name="Later" value={years.after} onChange={(after) => setYears({ ...years, after })} />
      </form>
      {failure && <p class="remark" role="alert"><Said of={failure} /></p>}
      {!found && !failure && (
        <p class="hint" role="status">
          Comparing all dates of all places… <button class="link" onClick={() => (showsChanges.value = false)}>Stop</button>
        </p>
      )}
      {found && found.pairs.length === 0 && (
        <p class="remark">No place here has chips of two dates. Move the map, choose another region, or remove filters.</p>
      )}
      {found && found.pairs.length > 0 && (
        <>
          <p class="status" role="status">{counted(found.matched, "pair")} of two dates; the most different first</p>
          <ul class="pairs">
            {found.pairs.map((change) => (
              <li key={`${change.before}${change.after}`}>
                <button class="pair" onClick={() => setChosen(change)}>
                  <Picture id={change.before} size={128} alt="" />
                  <Picture id={change.after} size={128} alt="" />
                  <span><strong>{counted(change.distance, "bit")}</strong> changed, {placeOf(change.box)}</span>
                  <small>{day(change.beforeTime)} → {day(change.afterTime)}</small>
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

function Interval({ name, value, onChange }: { name: string; value: string; onChange: (value: string) => void }): JSX.Element {
  return (
    <label>
      {name}
      <input value={value} placeholder="any, or 2024" pattern="\d{4}(-\d\d){0,2}" onChange={(event) => event.currentTarget.checkValidity() && onChange(event.currentTarget.value)} />
    </label>
  );
}

function Pair({ change, back }: { change: Change; back: () => void }): JSX.Element {
  const { before, after, beforeTime, afterTime, distance } = change;
  const close = (): void => {
    showsChanges.value = false;
  };
  return (
    <div class="two">
      <Swipe before={before} after={after} beforeName={day(beforeTime)} afterName={day(afterTime)} />
      <div class="stack">
        <p class="big">{number(distance)} <small>bits changed</small></p>
        <p>{placeOf(change.box)}</p>
        <div class="actions">
          <button onClick={back}>Back to the list</button>
          <button onClick={() => { close(); searchFrom(after); }}>Search from here</button>
          {change.box && !isNarrow.value && <button onClick={() => { close(); theWorld()?.map.jumpTo({ center: centreOf(change.box!), zoom: 6 }); }}>Show on the map</button>}
        </div>
      </div>
    </div>
  );
}
