// "What changed most here": pairs of chips of one place and two dates.
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { Dialog } from "./dialog";

export const showsChanges = signal(false);

export function ChangesDialog(): JSX.Element {
  return (
    <Dialog title="What changed most" isOpen={showsChanges.value} onClose={() => (showsChanges.value = false)} wide>
      <p class="hint">Coming with the service’s /v1/changes.</p>
    </Dialog>
  );
}
