// The filters: where, when, which collections, how much of a chip is valid.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { tool } from "../map/tools";
import { nameOf, parseRegion } from "../map/regions";
import { change, query } from "../state/store";
import { filterCount } from "../state/query";
import { collections } from "../state/collections";
import { number } from "./format";
import { Icon } from "./icons";

export function Filters(): JSX.Element {
  const now = query.value;
  const given = filterCount(now);
  return (
    <details class="filters" open={given > 0 || !matchMedia("(max-width: 760px)").matches}>
      <summary>
        <h2>Only {given > 0 && <span class="badge">{given}</span>}</h2>
      </summary>
      <div class="inside">
        {given > 0 && (
          <button class="link" onClick={() => change({ region: null, from: "", to: "", collections: [], minValid: 0, cutoff: null })}>
            Remove all
          </button>
        )}
      <Region />
      <div class="dates">
        <label>
          From
          <input type="date" value={now.from} onChange={(event) => change({ from: event.currentTarget.value, cutoff: null })} />
        </label>
        <label>
          To
          <input type="date" value={now.to} onChange={(event) => change({ to: event.currentTarget.value, cutoff: null })} />
        </label>
      </div>
      <Collections />
      <label class="valid">
        <span>
          Valid pixels <output>{now.minValid ? `≥ ${number(now.minValid * 100)} %` : "any"}</output>
        </span>
        <input
          type="range"
          min="0"
          max="1"
          step="0.050"
          value={now.minValid}
          onChange={(event) => change({ minValid: Number(event.currentTarget.value), cutoff: null })}
        />
      </label>
      </div>
    </details>
  );
}

function Region(): JSX.Element {
  const [problem, setProblem] = useState("");
  const region = query.value.region;
  const submit = (event: Event): void => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem("region") as HTMLInputElement;
    try {
      change({ region: parseRegion(input.value), cutoff: null });
      requestAnimationFrame(() => document.querySelector<HTMLElement>(".chosen-region button")?.focus());
      setProblem("");
      input.value = "";
    } catch (error) {
      setProblem((error as Error).message);
    }
  };
  if (region) {
    return (
      <p class="chosen-region">
        <Icon name="area" /> {nameOf(region)}
        <button class="bare" aria-label="Remove the region" title="Remove" onClick={() => change({ region: null, cutoff: null })}>
          <Icon name="close" />
        </button>
      </p>
    );
  }
  return (
    <>
      <form class="find" onSubmit={submit}>
        <label class="sr" for="region">Region: west, south, east, north, or GeoJSON</label>
        <input id="region" name="region" placeholder="W, S, E, N or GeoJSON" autocomplete="off" spellcheck={false} aria-describedby="region-problem" />
        <button type="button" class="bare" aria-label="Draw a region on the map" title="Draw on the map (R)" onClick={() => (tool.value = "region")}>
          <Icon name="area" />
        </button>
      </form>
      <p id="region-problem" class="problem" role="alert">{problem}</p>
    </>
  );
}

function Collections(): JSX.Element | null {
  const known = collections.value;
  if (known.length < 2) return null;
  const chosen = query.value.collections;
  const toggle = (id: string): void =>
    change({ collections: chosen.includes(id) ? chosen.filter((each) => each !== id) : [...chosen, id], cutoff: null });
  return (
    <fieldset class="checks">
      <legend>Collections</legend>
      {known.map(({ id, chips }) => (
        <label key={id}>
          <input type="checkbox" checked={chosen.includes(id)} onChange={() => toggle(id)} />
          <span>{id || "without a name"}</span>
          <small>{number(chips)}</small>
        </label>
      ))}
    </fieldset>
  );
}
