// The watches: saved queries that report what each night brings near them.
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, asApiError } from "../api/client";
import { askWatches, type Watch } from "../api/watches";
import { asksForKey } from "../state/session";
import { openAsQuery, showHits, watches } from "../state/watches";
import { Dialog } from "./dialog";
import { Said } from "./notice";
import { counted, day, number } from "./format";

export const showsWatches = signal(false);
const close = (): void => {
  showsWatches.value = false;
};

export function WatchesDialog(): JSX.Element {
  return (
    <Dialog title="Watches" isOpen={showsWatches.value} onClose={close}>
      <Body />
    </Dialog>
  );
}

function Body(): JSX.Element {
  const [isHere, setHere] = useState(false);
  const [failure, setFailure] = useState<ApiError | null>(null);
  const load = async (): Promise<void> => {
    setFailure(null);
    try {
      watches.value = (await askWatches()).watches;
      setHere(true);
    } catch (error) {
      const said = asApiError(error);
      setFailure(said);
      if (said.status !== 401) return;
      close();
      asksForKey.value = true;
    }
  };
  useEffect(() => void load(), []);
  if (failure) {
    return (
      <div class="stack">
        <p class="remark" role="alert"><Said of={failure} /></p>
        <div class="actions"><button class="primary" onClick={() => void load()}>Try again</button></div>
      </div>
    );
  }
  if (!watches.value.length) {
    return (
      <p class="remark" role="status">
        {isHere ? "There are no watches here. Export (E) shows the command that makes a query a watch: it reports what later nights bring near it." : "Reading the watches…"}
      </p>
    );
  }
  return (
    <ul class="watches">
      {watches.value.map((watch) => <Row key={watch.name} watch={watch} />)}
    </ul>
  );
}

function Row({ watch }: { watch: Watch }): JSX.Element {
  const within = `within ${counted(watch.max_distance, "bit")}`;
  const ran = watch.ran_at ? `last run ${day(watch.ran_at)}` : "not run yet";
  return (
    <li>
      <button class="hits" onClick={() => { close(); showHits(watch.name); }}>
        <strong>{watch.name}</strong>
        <span>{number(watch.hits)} {watch.hits === 1 ? "hit" : "hits"}</span>
        {watch.notes && <span class="notes">{watch.notes}</span>}
        <small>{within} · {ran}</small>
      </button>
      <button onClick={() => { close(); openAsQuery(watch); }} aria-label={`Open as a query: ${watch.name}`}>Open as a query</button>
    </li>
  );
}
