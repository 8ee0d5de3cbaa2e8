// What is said for a moment at the page's foot, and what a service says of something that has failed.
import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import type { ApiError } from "../api/client";
import { notice } from "../state/store";
import { sentences } from "./format";

const NOTICE_MS = 6000;

/** The titles of the dialogs that are open, the topmost last. */
export const openDialogs = signal<readonly string[]>([]);

/** The notice. While a dialog is open it is said within the topmost: what is outside can't be reached or heard. */
export function Notice({ dialog }: { dialog?: string }): JSX.Element {
  const said = openDialogs.value.at(-1) === dialog ? notice.value : "";
  useEffect(() => {
    if (!said) return;
    const timer = setTimeout(() => (notice.value = ""), NOTICE_MS);
    return () => clearTimeout(timer);
  }, [said]);
  return (
    <p class={`notice ${said ? "on" : ""}`} role="status" aria-live="polite">
      {typeof said === "string" ? said : <Said of={said} />}
    </p>
  );
}

/** Why something has failed, what to do, and the code to look up. */
export function Said({ of }: { of: ApiError }): JSX.Element {
  return <>{sentences(of.message, of.hint)} <code>{of.code}</code></>;
}
