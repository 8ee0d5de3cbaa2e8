// The examples: chips for and against, or a picture, or a code; and where new ones come from.
import type { JSX, TargetedSubmitEvent } from "preact";
import { useRef, useState } from "preact/hooks";
import { Picture } from "../grid/picture";
import { change, clear, label, pictureOf, preparing, query, stopPreparing, take, takeAt, takePicture, type Take } from "../state/store";
import { hasExample, type Compare } from "../state/query";
import { isNarrow } from "../state/width";
import { parseFind } from "./find";
import { Icon, type IconName } from "./icons";
import { Stop } from "./stop";

export function Examples(): JSX.Element {
  const { positive, negative, code, compare } = query.value;
  const [addsFor, addsAgainst] = isNarrow.value
    ? ["Open a result and choose More like this.", "Open one that is wrong and choose Less like this."]
    : ["Click the map, or press P on a result.", "Press N on a result that is wrong."];
  return (
    <section class="examples" aria-labelledby="examples-title">
      <header class="head">
        <h2 id="examples-title">Look for</h2>
        {hasExample(query.value) && <button class="link" onClick={clear}>Clear</button>}
      </header>
      <Find />
      {code && <PictureExample code={code} />}
      <Row title="Like these" as="for" ids={positive} empty={code ? "" : addsFor} />
      <Row title="Unlike these" as="against" ids={negative} empty={positive.length || negative.length ? addsAgainst : ""} />
      <fieldset class="segments">
        <legend>Compare</legend>
        {(["both", "kind", "look"] as const).map((each) => (
          <Choice key={each} value={each} chosen={compare} />
        ))}
      </fieldset>
    </section>
  );
}

const SAYS: Record<Compare, [string, string]> = {
  both: ["Both", "What it is and what it looks like"],
  kind: ["Kind", "What it is, as the labels say"],
  look: ["Look", "What it looks like, without labels"],
};

function Choice({ value, chosen }: { value: Compare; chosen: Compare }): JSX.Element {
  return (
    <label title={SAYS[value][1]}>
      <input type="radio" name="compare" checked={value === chosen} onChange={() => change({ compare: value, cutoff: null })} />
      <span>{SAYS[value][0]}</span>
    </label>
  );
}

function Row({ title, as, ids, empty }: { title: string; as: "for" | "against"; ids: readonly string[]; empty: string }): JSX.Element | null {
  if (!ids.length && !empty) return null;
  // the button goes with its example: the focus goes to the next one, or back to where examples are typed
  const remove = (event: MouseEvent, place: number): void => {
    const list = (event.currentTarget as HTMLElement).closest("ul");
    label(ids[place]!, "none");
    requestAnimationFrame(() => {
      const left = list?.querySelectorAll("button") ?? [];
      (left[Math.min(place, left.length - 1)] ?? document.getElementById("find"))?.focus();
    });
  };
  return (
    <div class={`row ${as}`}>
      <h3>{title}</h3>
      {!ids.length && <p class="hint">{empty}</p>}
      <ul>
        {ids.map((id, place) => (
          <li key={id}>
            <Picture id={id} size={64} alt="" />
            <button aria-label={`Remove this example ${as}`} title="Remove" onClick={(event) => remove(event, place)}>
              <Icon name="close" />
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}

function PictureExample({ code }: { code: string }): JSX.Element {
  const picture = pictureOf(code);
  return (
    <div class="row for">
      <h3>{picture ? "Like this picture" : "Like this code"}</h3>
      <ul>
        <li>
          {picture ? <img class="picture" src={picture} alt="Your picture" /> : <span class="picture code">{code.slice(0, 8)}…</span>}
          <button aria-label="Remove the picture" title="Remove" onClick={() => change({ code: "", weights: "", cutoff: null })}>
            <Icon name="close" />
          </button>
        </li>
      </ul>
    </div>
  );
}

/** Coordinates, a chip's id or a code, typed; or a picture from disk. */
function Find(): JSX.Element {
  const [problem, setProblem] = useState("");
  const files = useRef<HTMLInputElement>(null);
  const submit = (event: TargetedSubmitEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const input = event.currentTarget.elements.namedItem("find") as HTMLInputElement;
    const as = (event.submitter as HTMLButtonElement).value as Take;
    const found = parseFind(input.value);
    setProblem("why" in found ? found.why : "");
    if ("place" in found) void takeAt(found.place[0], found.place[1], as);
    if ("id" in found) take(found.id, as);
    if ("code" in found && as === "search") change({ positive: [], negative: [], code: found.code, weights: "", cutoff: null });
    if ("code" in found && as !== "search") setProblem("A code can only begin a search. Write coordinates or a chip id.");
  };
  return (
    <>
      <form class="find" onSubmit={submit}>
        <label class="sr" for="find">Coordinates, chip id or code</label>
        <input id="find" name="find" placeholder="Latitude, longitude" autocomplete="off" spellcheck={false} aria-describedby="find-problem" />
        <Submit as="search" icon="search" title="Search from here" />
        {query.value.positive.length > 0 && <Submit as="for" icon="plus" title="Add as an example for" />}
        {query.value.positive.length > 0 && <Submit as="against" icon="minus" title="Add as an example against" />}
        <button type="button" class="bare" aria-label="Search with a picture" title="Search with a picture: choose, drop or paste it" onClick={() => files.current?.click()}>
          <Icon name="image" />
        </button>
        <input
          ref={files}
          type="file"
          hidden
          accept="image/*,.tif,.tiff,.jp2"
          onChange={(event) => {
            const [file] = event.currentTarget.files ?? [];
            event.currentTarget.value = "";
            if (file) void takePicture(file);
          }}
        />
      </form>
      <p id="find-problem" class="problem" role="alert">{problem}</p>
      {preparing.value > 0 && (
        <p class="hint" role="status">
          Reading the example… <Stop stop={stopPreparing} focusOn="#find" />
        </p>
      )}
    </>
  );
}

function Submit({ as, icon, title }: { as: Take; icon: IconName; title: string }): JSX.Element {
  return (
    <button type="submit" class="bare" value={as} aria-label={title} title={title}>
      <Icon name={icon} />
    </button>
  );
}
