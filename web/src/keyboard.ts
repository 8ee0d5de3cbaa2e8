// The keys. Those of results act on the card that has the focus; the others act anywhere but in a field of text or a list to choose from.
import { isExporting } from "./panels/export_dialog";
import { showsChanges } from "./panels/changes_dialog";
import { showsKeys } from "./panels/keys_dialog";
import { showsWatches } from "./panels/watches_dialog";
import { theWorld } from "./map/map";
import { tool } from "./map/tools";
import { canExport, label, searchFrom, undo } from "./state/store";

/** Listen to the keys. */
export function startKeyboard(): void {
  addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
    const target = event.target as HTMLElement;
    if (target.matches("input:not([type=radio], [type=checkbox], [type=range]), textarea, select, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    if (press(event.key, target)) event.preventDefault();
  });
}

function press(key: string, target: HTMLElement): boolean {
  const id = target.closest<HTMLElement>("[data-id]")?.dataset["id"];
  const name = key.length === 1 ? key.toLowerCase() : key;
  if (id && onCard(name, id)) return true;
  const isOnMap = target.matches(".maplibregl-canvas") || target === document.body;
  if ((isOnMap || tool.value === "region") && ["Enter", "Escape", " "].includes(name) && theWorld()?.key(name)) return true;
  const anywhere: Record<string, () => void> = {
    z: undo,
    "/": () => (document.getElementById("find") as HTMLInputElement | null)?.select(),
    g: () => document.querySelector<HTMLElement>(".card .open[tabindex='0']")?.focus(),
    "1": () => (tool.value = "search"),
    "2": () => (tool.value = "for"),
    "3": () => (tool.value = "against"),
    r: () => (tool.value = "region"),
    c: () => (showsChanges.value = true),
    e: () => canExport.value && (isExporting.value = true),
    w: () => (showsWatches.value = true),
    "?": () => (showsKeys.value = true),
  };
  anywhere[name]?.();
  return name in anywhere;
}

function onCard(name: string, id: string): boolean {
  const actions: Record<string, () => void> = {
    p: () => label(id, "for"),
    n: () => label(id, "against"),
    u: () => label(id, "none"),
    s: () => searchFrom(id),
  };
  actions[name]?.();
  return name in actions;
}
