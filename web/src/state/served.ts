// What is served: the version of the table, its chips, and when it was published.
import { signal } from "@preact/signals";
import { ApiError, asApiError, get, type Schemas } from "../api/client";
import { asksForKey } from "./session";

export interface Served {
  readonly snapshot: number;
  readonly modelId: string;
  readonly chips: number;
  readonly bits: number;
  readonly publishedAt: string;
  readonly kept: readonly number[];
  readonly hasBaseMap: boolean;
}

export const served = signal<Served | null>(null);
/** Why nothing is known of it. */
export const servedFailure = signal<ApiError | null>(null);

const LOOK_EVERY_MS = 30_000;

/** Ask what is served. */
export async function askWhatIsServed(): Promise<void> {
  try {
    const found = await get<Schemas["SnapshotInfo"]>("/v1/snapshot");
    served.value = {
      snapshot: found.snapshot,
      modelId: found.model_id,
      chips: found.chips,
      bits: found.bits,
      publishedAt: found.published_at,
      kept: [...found.kept],
      hasBaseMap: found.base_map,
    };
    servedFailure.value = null;
  } catch (error) {
    const said = asApiError(error);
    if (said.status === 401) asksForKey.value = true;
    servedFailure.value = said;
  }
}

/** Ask now and from time to time, so that the page knows of new versions, and of a service that is back. */
export function watchWhatIsServed(): void {
  void askWhatIsServed();
  setInterval(() => {
    if (!document.hidden && !asksForKey.value) void askWhatIsServed();
  }, LOOK_EVERY_MS);
}
