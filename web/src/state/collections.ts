// The collections of the archive, for the filters.
import { signal } from "@preact/signals";

export interface Collection {
  readonly id: string;
  readonly chips: number;
}

export const collections = signal<readonly Collection[]>([]);
