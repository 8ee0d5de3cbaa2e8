// What a click on the map does.
import { signal } from "@preact/signals";

export type Tool = "search" | "for" | "against" | "region";

export const tool = signal<Tool>("search");
/** Whether the results are on the map: without them, what is below can be seen. */
export const showsFootprints = signal(true);
/** Whether the operator's own base map is drawn, if there is one. */
export const showsBaseMap = signal(true);
/** Whether there is a base map that couldn't be read. */
export const lacksBaseMap = signal(false);
