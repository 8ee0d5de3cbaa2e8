// What a click on the map does.
import { signal } from "@preact/signals";

export type Tool = "search" | "for" | "against" | "region";

export const tool = signal<Tool>("search");
