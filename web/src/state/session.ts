// The key, for as long as this tab is open: never in an address, never in a log, never on disk.
import { signal } from "@preact/signals";

const NAME = "scenehash-key";

export const key = signal(read());
/** Whether the service has asked for a key: then the page asks its user. */
export const asksForKey = signal(false);

function read(): string {
  try {
    return sessionStorage.getItem(NAME) ?? "";
  } catch {
    return ""; // storage may be switched off
  }
}

/** Keep a key for this tab. */
export function keepKey(given: string): void {
  key.value = given.trim();
  try {
    sessionStorage.setItem(NAME, key.value);
  } catch {
    // the key then lasts until the page is loaded again
  }
}

/** Forget the key. */
export function signOut(): void {
  key.value = "";
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // see above
  }
}
