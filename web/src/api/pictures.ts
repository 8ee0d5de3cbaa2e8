// Pictures of chips, fetched with the key and shown as blobs: few at a time, the first wanted first, kept for a while.
import { SERVICE, ApiError, isAborted, send } from "./client";

const AT_A_TIME = 6;
const KEPT = 1200;

interface Wanted {
  readonly address: string;
  readonly controller: AbortController;
  readonly done: (url: string) => void;
  readonly failed: (error: unknown) => void;
}

const kept = new Map<string, string>();
const waiting: Wanted[] = [];
let ongoing = 0;

/** Return the address of a picture: `size` pixels wide, of the chip and, with `context` 3, its surroundings. */
export function pictureAddress(id: string, size: number, context = 1): string {
  const around = context === 1 ? "" : `&context=${context}`;
  return `${SERVICE}/v1/chips/${encodeURIComponent(id)}/thumbnail?size=${size}${around}`;
}

/** Return the picture if it is here already. */
export function pictureHere(address: string): string | undefined {
  return kept.get(address);
}

/** Fetch a picture. `signal` gives it up. Rejects with an `ApiError` that says why there is none. */
export function fetchPicture(address: string, signal: AbortSignal): Promise<string> {
  const here = kept.get(address);
  if (here) return Promise.resolve(here);
  return new Promise((done, failed) => {
    const controller = new AbortController();
    const wanted = { address, controller, done, failed };
    signal.addEventListener("abort", () => {
      const place = waiting.indexOf(wanted);
      if (place >= 0) waiting.splice(place, 1);
      controller.abort();
      failed(new DOMException("given up", "AbortError"));
    });
    waiting.push(wanted);
    start();
  });
}

function start(): void {
  while (ongoing < AT_A_TIME && waiting.length) {
    const wanted = waiting.shift()!;
    ongoing++;
    void load(wanted).finally(() => {
      ongoing--;
      start();
    });
  }
}

async function load({ address, controller, done, failed }: Wanted): Promise<void> {
  try {
    const response = await send(new Request(address, { signal: controller.signal }));
    const url = URL.createObjectURL(await response.blob());
    keep(address, url);
    done(url);
  } catch (error) {
    failed(error);
  }
}

function keep(address: string, url: string): void {
  kept.set(address, url);
  for (const [oldest, blob] of kept) {
    if (kept.size <= KEPT) return;
    kept.delete(oldest);
    URL.revokeObjectURL(blob);
  }
}

/** Say in a few words why there is no picture. */
export function whyNoPicture(error: unknown): string {
  if (isAborted(error)) return "";
  const code = error instanceof ApiError ? error.code : "";
  const said: Record<string, string> = {
    source_gone: "The image is gone from the archive",
    source_changed: "The image has changed since it was encoded",
    source_refused: "The archive refuses the image",
    source_unavailable: "The archive doesn’t answer",
    unreachable: "The service can’t be reached",
  };
  return said[code] ?? "No picture";
}
