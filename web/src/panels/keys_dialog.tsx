// The list of keys, and what the page is made of.
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { Dialog } from "./dialog";

export const showsKeys = signal(false);

const KEYS: [string, [string, string][]][] = [
  ["On a result", [
    ["← ↑ ↓ →", "Move"],
    ["P", "More like this"],
    ["N", "Less like this"],
    ["U", "Neither"],
    ["S", "Search from this one"],
    ["Enter", "Look closer"],
  ]],
  ["On the map", [
    ["← ↑ ↓ →", "Move"],
    ["+  −", "Zoom"],
    ["Enter", "Take the chip at the crosshair"],
    ["1", "A click searches from there"],
    ["2", "A click adds an example for"],
    ["3", "A click adds an example against"],
    ["⇧ drag", "After 2 or 3, all results in the box; else zoom"],
  ]],
  ["Anywhere", [
    ["Z", "Undo"],
    ["/", "Type coordinates, a chip id or a code"],
    ["G", "Go to the results"],
    ["R", "Draw a region; Enter ends it, Esc gives it up"],
    ["C", "Places that changed most"],
    ["W", "Watches and their hits"],
    ["E", "Export"],
    ["?", "This list"],
  ]],
];

export function KeysDialog(): JSX.Element {
  return (
    <Dialog title="Keys" isOpen={showsKeys.value} onClose={() => (showsKeys.value = false)}>
      <div class="keys">
        {KEYS.map(([where, keys]) => (
          <section key={where}>
            <h3>{where}</h3>
            <dl>
              {keys.map(([name, does]) => (
                <div key={name}>
                  <dt><kbd>{name}</kbd></dt>
                  <dd>{does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <p class="hint">
        <a href="./docs">The API</a> · <a href="./licences.txt">Licences of what the page is made of</a> · Map: Natural Earth
      </p>
    </Dialog>
  );
}
