// The bar on top: the name, what is served, and what can be done with all of it.
import type { JSX } from "preact";
import { asksForKey, key, signOut } from "../state/session";
import { served } from "../state/served";
import { answer, canExport, canUndo, query, searchNewest, undo } from "../state/store";
import { isDark, toggleTheme } from "../state/theme";
import { watches } from "../state/watches";
import { isExporting } from "./export_dialog";
import { showsKeys } from "./keys_dialog";
import { showsChanges } from "./changes_dialog";
import { showsWatches } from "./watches_dialog";
import { day, number } from "./format";
import { Icon } from "./icons";

export function TopBar(): JSX.Element {
  return (
    <header class="topbar">
      <h1>
        <img src="./favicon.svg" alt="" width="20" height="20" />
        Scenehash
      </h1>
      <p class="served">{servedLine()}</p>
      <Newer />
      <nav class="tools" aria-label="Page">
        <button disabled={!canUndo.value} onClick={undo} title="Undo the last change (Z)">
          <Icon name="undo" /> <span>Undo</span>
        </button>
        <button onClick={() => (showsChanges.value = true)} title="Places that changed most (C)">
          <Icon name="change" /> <span>Changes</span>
        </button>
        {watches.value.length > 0 && (
          <button onClick={() => (showsWatches.value = true)} title="Watches and their hits (W)">
            <Icon name="watch" /> <span>Watches</span>
          </button>
        )}
        <button class="export" disabled={!canExport.value} onClick={() => (isExporting.value = true)} title="Export (E)">
          <Icon name="download" /> <span>Export</span>
        </button>
        <button class="bare" onClick={() => (showsKeys.value = true)} title="Keys (?)" aria-label="Keys">
          <Icon name="keys" />
        </button>
        <button class="bare" onClick={toggleTheme} title="Light or dark" aria-label={isDark.value ? "Light colours" : "Dark colours"}>
          <Icon name={isDark.value ? "sun" : "moon"} />
        </button>
        {key.value && (
          <button class="bare" onClick={() => { signOut(); asksForKey.value = true; }} title="Sign out" aria-label="Sign out">
            <Icon name="user" />
          </button>
        )}
      </nav>
    </header>
  );
}

function servedLine(): string {
  const now = served.value;
  if (!now) return "";
  return `${number(now.chips)} chips · version ${now.snapshot} of ${day(now.publishedAt)}`;
}

/** Say that a newer version than the one that answers is served. */
function Newer(): JSX.Element | null {
  const [now, pinned] = [served.value, query.value.snapshot];
  if (!now || pinned === null || now.snapshot === pinned || !answer.value || answer.value.watched) return null;
  return (
    <p class="newer" role="status">
      These answers are of version {pinned}. <button onClick={searchNewest}>Use version {now.snapshot}</button>
    </p>
  );
}
