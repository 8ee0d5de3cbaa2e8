// The map with its tools, the legend of its colours, and the picture of what the pointer is over.
import type { Signal } from "@preact/signals";
import type { JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Picture } from "../grid/picture";
import { counted, day, number } from "../panels/format";
import { Icon, type IconName } from "../panels/icons";
import { Stop } from "../panels/stop";
import { answer, hovered, shown } from "../state/store";
import { isDark } from "../state/theme";
import { ramp, SHADES } from "./colours";
import { coverage, isHeating, showsCoverage, showsHeat } from "../state/archive";
import { served } from "../state/served";
import { lacksBaseMap, showsBaseMap, showsFootprints, tool, type Tool } from "./tools";
import type { World } from "./world";

// loads beside the rest of the page, which doesn't wait for it
const loading = import("./world");
let world: World | null = null;
/** Return the map, once it is there. */
export const theWorld = (): World | null => world;

export function MapView(): JSX.Element {
  const container = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    // a task of its own: the page answers to keys and clicks before the map is made
    void loading.then((module) => setTimeout(() => (world = new module.World(container.current!))));
    return () => world?.map.remove();
  }, []);
  return (
    <section class="map" aria-label="Map">
      <div class="canvas" ref={container} />
      <span class="crosshair" aria-hidden="true" />
      <Tools />
      <Legend />
      <UnderPointer />
    </section>
  );
}

const TOOLS: [Tool, IconName, string][] = [
  ["search", "search", "Search from here"],
  ["for", "plus", "More like this place"],
  ["against", "minus", "Less like this place"],
  ["region", "area", "Draw a region"],
];

function Tools(): JSX.Element {
  return (
    <div class="map-tools">
      <fieldset class="segments">
        <legend class="sr">A click on the map</legend>
        {TOOLS.map(([value, icon, title]) => (
          <label key={value} title={title} class={value}>
            <input type="radio" name="tool" aria-label={title} checked={tool.value === value} onChange={() => (tool.value = value)} />
            <span><Icon name={icon} /></span>
          </label>
        ))}
      </fieldset>
      {answer.value && (
        <button class="bare boxed" title="Show all results" aria-label="Show all results" onClick={() => world?.fit()}>
          <Icon name="fit" />
        </button>
      )}
      <Layers />
      {tool.value === "region" && <p class="map-hint">Click the corners; Enter or a double click ends it, Esc gives it up.</p>}
      {tool.value === "for" && <p class="map-hint">A click adds an example for; Shift and a drag, all results in a box.</p>}
      {tool.value === "against" && <p class="map-hint">A click adds an example against; Shift and a drag, all results in a box.</p>}
    </div>
  );
}

function Layers(): JSX.Element | null {
  const found = answer.value;
  if (!found && !coverage.value && !served.value?.hasBaseMap) return null;
  return (
    <details class="layers">
      <summary class="boxed" title="What the map shows" aria-label="What the map shows"><Icon name="layers" /></summary>
      <div class="menu">
        <Layer name="Results" of={showsFootprints} disabled={!found} />
        <Layer name="Heat of the whole archive" of={showsHeat} disabled={!found || found.watched !== undefined} />
        <Layer name="Where the archive is" of={showsCoverage} disabled={!coverage.value} />
        {served.value?.hasBaseMap && <Layer name={lacksBaseMap.value ? "Base map: it can’t be read" : "Base map"} of={showsBaseMap} disabled={lacksBaseMap.value} />}
        {isHeating.value && (
          <p class="hint" role="status">
            Counting the whole archive… <Stop stop={() => (showsHeat.value = false)} focusOn=".layers summary" />
          </p>
        )}
      </div>
    </details>
  );
}

function Layer({ name, of, disabled }: { name: string; of: Signal<boolean>; disabled: boolean }): JSX.Element {
  return (
    <label>
      <input type="checkbox" checked={of.value} disabled={disabled} onChange={() => (of.value = !of.value)} /> {name}
    </label>
  );
}

function Legend(): JSX.Element | null {
  const found = answer.value;
  if (!found || !shown.value) return <ArchiveLegend />;
  const nearest = found.distances[0]!;
  const farthest = found.distances[shown.value - 1]!;
  return (
    <div class="legend">
      <span>{number(nearest)}</span>
      <span class="ramp" style={{ background: `linear-gradient(90deg, ${ramp(isDark.value).join(", ")})` }} />
      <span>{counted(farthest, "bit")}</span>
    </div>
  );
}

/** What the shades of the archive mean, while nothing else is on the map. */
function ArchiveLegend(): JSX.Element | null {
  if (!coverage.value || !showsCoverage.value) return null;
  return (
    <div class="legend" title="Chips of the archive in a cell of the map">
      <span>1</span>
      <span class="shades">{SHADES.map((opacity) => <i key={opacity} style={{ opacity }} />)}</span>
      <span>10,000 chips</span>
    </div>
  );
}

function UnderPointer(): JSX.Element | null {
  const [found, row] = [answer.value, hovered.value];
  if (!found || row < 0 || row >= found.ids.length) return null;
  return (
    <div class="under-pointer">
      <Picture id={found.ids[row]!} size={128} alt="" />
      <p>
        <strong>{counted(found.distances[row]!, "bit")}</strong>
        <br />
        {day(found.times[row] ?? null)}
      </p>
    </div>
  );
}
