// What stands above the results: how many, how near; and each state in which there are none, with what to do.
import type { JSX } from "preact";
import { asksForKey } from "../state/session";
import { servedFailure } from "../state/served";
import { answer, canUndo, change, clear, failure, isSearching, onePerPlace, places, query, searchAgain, searchNewest, setCutoff, shown, STOPPED, stopSearching, undo } from "../state/store";
import { asksForSomething, filterCount } from "../state/query";
import { isNarrow } from "../state/width";
import { counted, number, sentences } from "../panels/format";
import { Stop } from "../panels/stop";
import { WatchHead } from "./watch_head";

export function Results(): JSX.Element {
  const found = answer.value;
  return (
    <>
      <header class="head">
        <h2>Results</h2>
        <p class="status" role="status">{statusLine()}</p>
        {isSearching.value && <Stop stop={stopSearching} focusOn=".state .primary" isLate />}
        {found && shown.value > 0 && (
          <label class="toggle">
            <input type="checkbox" checked={onePerPlace.value} onChange={() => (onePerPlace.value = !onePerPlace.value)} />
            One a place
          </label>
        )}
      </header>
      <div class={`progress ${isSearching.value ? "on" : ""}`} />
      {query.value.watch && <WatchHead />}
      {body()}
    </>
  );
}

function statusLine(): string {
  const found = answer.value;
  if (failure.value?.code === STOPPED) return "Stopped";
  if (isSearching.value && !found) return query.value.watch ? "Reading the hits…" : "Searching…";
  if (!found || !asksForSomething(query.value)) return "";
  const isPart = shown.value < found.ids.length;
  const count = isPart ? shown.value : found.matched;
  const cutoff = query.value.cutoff;
  const farthest = found.distances[shown.value - 1];
  const where = onePerPlace.value ? ` at ${counted(places.value.length, "place")}` : "";
  if (found.watched) {
    const within = cutoff === null ? "" : ` within ${counted(Math.floor(cutoff), "bit")}`;
    return `${found.watched.isWhole ? "" : "The newest "}${counted(count, "hit")}${where}${within}`;
  }
  if (cutoff !== null) return `${counted(count, "chip")}${where} within ${counted(Math.floor(cutoff), "bit")}`;
  const ties = found.ties > 0 ? `; ${number(found.ties)} more as near as the last` : "";
  return farthest === undefined ? "" : `${number(count)} nearest${where}, up to ${counted(Math.ceil(farthest), "bit")}${ties}`;
}

function body(): JSX.Element | null {
  const found = answer.value;
  const said = failure.value;
  if (said?.status === 410) {
    return (
      <State title="This link’s snapshot is gone" text="The link names a version of the table that the service doesn’t keep any more. The newest version may answer differently.">
        <button class="primary" onClick={searchNewest}>Search the newest version</button>
      </State>
    );
  }
  if (said?.code === STOPPED) {
    return (
      <State title="The search was stopped" text={`${said.message}${found ? " The results below are those of the search before." : ""}`}>
        <button class="primary" onClick={searchAgain}>Search again</button>
        {canUndo.value && <button onClick={undo}>Undo the last change</button>}
      </State>
    );
  }
  if (said?.status === 0 || (!found && servedFailure.value?.status === 0)) {
    return (
      <State title="The service can’t be reached" text="Nothing is lost: the query stays in the address. Look at the network, or ask the service’s operator.">
        <button class="primary" onClick={searchAgain}>Try again</button>
      </State>
    );
  }
  if (said) {
    return (
      <State title={query.value.watch ? "The service can’t show these hits" : "The service refused this search"} text={sentences(said.message, said.hint)} code={said.code}>
        <button class="primary" onClick={searchAgain}>Try again</button>
        <button onClick={canUndo.value ? undo : clear}>{canUndo.value ? "Undo the last change" : "Start anew"}</button>
      </State>
    );
  }
  if (asksForKey.value) return <State title="A key is needed" text="Sign in with the key that the service’s operator gave you." />;
  if (found?.watched && shown.value === 0 && query.value.cutoff === null) {
    return <State title="No hits yet" text="The watch looks at each night that is published. What it finds is shown here." />;
  }
  if (!asksForSomething(query.value)) {
    return (
      <State
        title="What are you looking for?"
        text={`${isNarrow.value ? "Choose a picture, or type coordinates." : "Click a place on the map that shows it, drop a picture anywhere on the page, or type coordinates."} What looks like it in the whole archive appears here, nearest first.`}
      />
    );
  }
  if (found && shown.value === 0) return <Nothing />;
  return found && found.chance !== null && found.distances[0]! > found.chance ? (
    <p class="remark">Nothing is nearer than chance ({number(found.chance)} bits): the archive may hold nothing like it.</p>
  ) : null;
}

function Nothing(): JSX.Element {
  const cutoff = query.value.cutoff;
  const hasFilters = filterCount(query.value) > 0;
  const title = cutoff !== null ? `Nothing within ${counted(Math.floor(cutoff), "bit")}` : "Nothing passes the filters";
  return (
    <State title={title} text={hasFilters ? "A wider cutoff or fewer filters may find something." : "A wider cutoff may find something."}>
      {cutoff !== null && <button class="primary" onClick={() => setCutoff(null)}>Show the nearest</button>}
      {hasFilters && (
        <button onClick={() => change({ region: null, from: "", to: "", collections: [], minValid: 0 })}>Remove all filters</button>
      )}
    </State>
  );
}

function State({ title, text, code, children }: { title: string; text: string; code?: string; children?: preact.ComponentChildren }): JSX.Element {
  return (
    <div class="state">
      <h3>{title}</h3>
      <p>{text}</p>
      {code && <code>{code}</code>}
      <div class="actions">{children}</div>
    </div>
  );
}
