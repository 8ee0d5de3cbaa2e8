// Export: all pages of the answer as a file, and the query as text to use elsewhere.
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ApiError, asApiError, isAborted, SERVICE } from "../api/client";
import { exportPages, type FileKind } from "../api/export";
import { served } from "../state/served";
import { key } from "../state/session";
import { LARGEST_PAGE } from "../state/query";
import { answer, notice, query, shown, shownQuery, tell } from "../state/store";
import { Dialog } from "./dialog";
import { asCurl, asPython, asSql, asWatch } from "./export_text";
import { counted, number } from "./format";
import { Stop } from "./stop";

export const isExporting = signal(false);

const TEXTS = { curl: "curl", python: "Python", sql: "SQL", watch: "Watch" } as const;
type TextKind = keyof typeof TEXTS;
const FIRST_BUTTON = "dialog[open] .actions button";

export function ExportDialog(): JSX.Element {
  return (
    <Dialog title="Export" isOpen={isExporting.value} onClose={() => (isExporting.value = false)}>
      <Files />
      <Texts />
    </Dialog>
  );
}

function Files(): JSX.Element {
  const [done, setDone] = useState<number | null>(null);
  const [controller, setController] = useState<AbortController | null>(null);
  useEffect(() => () => controller?.abort(), [controller]);
  const found = answer.value;
  const all = found ? (shown.value < found.ids.length ? shown.value : found.matched) : 0;
  const save = async (kind: FileKind): Promise<void> => {
    const own = new AbortController();
    setController(own);
    setDone(0);
    let [saved, chips] = [0, 0];
    const progress = (done: number): void => setDone((chips = done));
    const keep = (file: Blob, name: string): void => {
      download(file, name);
      saved++;
    };
    try {
      const files = await exportPages(shownQuery.value, kind, own.signal, progress, keep);
      notice.value = `Exported ${counted(all, "chip")}${files > 1 ? ` in ${number(files)} numbered files` : ""}.`;
    } catch (error) {
      const kept = saved ? `The first ${counted(chips, "chip")} are saved in ${counted(saved, "file")}.` : "Nothing is saved.";
      const said = asApiError(error);
      if (isAborted(error)) notice.value = `Stopped. ${kept}`;
      else tell(saved ? new ApiError(said.status, said.code, said.message, `${said.hint} ${kept}`) : said);
    } finally {
      setController(null);
      setDone(null);
      // the button that was pressed is gone, and then Stop is
      requestAnimationFrame(() => document.activeElement === document.body && document.querySelector<HTMLElement>(FIRST_BUTTON)?.focus());
    }
  };
  return (
    <section class="stack">
      <p>
        All {counted(all, "chip")} of this answer, not only what is in sight.
      </p>
      {done === null ? (
        <div class="actions">
          <button class="primary" onClick={() => void save("geojson")}>GeoJSON</button>
          <button onClick={() => void save("parquet")}>GeoParquet</button>
          <button onClick={() => void save("csv")}>CSV</button>
          <p class="hint">Of more than {number(LARGEST_PAGE)} chips, GeoParquet is saved as numbered files.</p>
        </div>
      ) : (
        <div class="actions">
          <progress max={all} value={done} aria-label="Exported chips" />
          <span>{number(done)} of {number(all)}</span>
          <Stop stop={() => controller?.abort()} focusOn={FIRST_BUTTON} />
        </div>
      )}
    </section>
  );
}

function download(file: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function Texts(): JSX.Element {
  const [kind, setKind] = useState<TextKind>("curl");
  const text = textOf(kind);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      notice.value = "Copied.";
    } catch {
      notice.value = "The browser doesn’t let the page copy: mark the text and copy it yourself.";
    }
  };
  return (
    <section class="stack">
      <fieldset class="segments">
        <legend>The query, to ask again elsewhere</legend>
        {(Object.keys(TEXTS) as TextKind[]).map((each) => (
          <label key={each}>
            <input type="radio" name="text" checked={kind === each} onChange={() => setKind(each)} />
            <span>{TEXTS[each]}</span>
          </label>
        ))}
      </fieldset>
      <pre tabIndex={0} aria-label={`The query for ${TEXTS[kind]}`}>{text}</pre>
      <div class="actions">
        <button onClick={() => void copy()}>Copy</button>
        {kind === "watch" && <p class="hint">A watch reports what later nights bring within this distance.</p>}
      </div>
    </section>
  );
}

function textOf(kind: TextKind): string {
  const now = query.value;
  if (kind === "curl") return asCurl(now, SERVICE, key.value !== "");
  if (kind === "python") return asPython(now, SERVICE, key.value !== "");
  if (kind === "sql") return asSql(now, answer.value?.parts ?? [], modelOfAnswer());
  return asWatch(now);
}

/** Return the model that the answer's codes are of, or "" where the answer is of an older version of the table. */
function modelOfAnswer(): string {
  return served.value && served.value.snapshot === answer.value?.snapshot ? served.value.modelId : "";
}
