// Whether the page is as narrow as a phone: then it shows query and results, and no map (style/layout.css).
import { signal } from "@preact/signals";

const narrow = matchMedia("(max-width: 760px)");

export const isNarrow = signal(narrow.matches);

narrow.addEventListener("change", () => (isNarrow.value = narrow.matches));
