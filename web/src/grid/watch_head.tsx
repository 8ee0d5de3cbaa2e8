// What stands above the hits of a watch: whose they are, of which night, and the ways on.
import type { JSX } from "preact";
import { day } from "../panels/format";
import { answer, leaveWatch, query } from "../state/store";
import { openAsQuery, showHits, watches } from "../state/watches";

export function WatchHead(): JSX.Element {
  const { watch, night } = query.value;
  const nights = answer.value?.watched?.nights ?? [];
  const known = watches.value.find(({ name }) => name === watch);
  return (
    <div class="remark watch">
      <p>Hits of <strong>{watch}</strong>{known?.notes && `: ${known.notes}`}</p>
      {nights.length > 0 && (
        <label>
          Night
          <select value={night ?? ""} onChange={(event) => showHits(watch, event.currentTarget.value ? Number(event.currentTarget.value) : null)}>
            <option value="">All</option>
            {nights.map(({ publication, written_at }) => (
              <option key={publication} value={publication}>{day(written_at)}, publication {publication}</option>
            ))}
          </select>
        </label>
      )}
      <div class="actions">
        <button onClick={leaveWatch}>Back to the query</button>
        {known && <button onClick={() => openAsQuery(known)}>Open as a query</button>}
      </div>
    </div>
  );
}
