// Pictures and regions that are dropped on the page or pasted into it.
import { signal } from "@preact/signals";
import { parseRegion } from "./map/regions";
import { change, notice, takePicture } from "./state/store";

/** Whether something is being dragged over the page. */
export const isDragging = signal(false);

/** Listen to what is dropped and pasted. */
export function startDropping(): void {
  let depth = 0;
  addEventListener("dragenter", (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    depth++;
    isDragging.value = true;
  });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    isDragging.value = depth > 0;
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    isDragging.value = false;
    void take(event.dataTransfer?.files[0]);
  });
  addEventListener("paste", (event) => void take(event.clipboardData?.files[0]));
}

async function take(file: File | undefined): Promise<void> {
  if (!file) return;
  if (!/\.(geo)?json$/i.test(file.name)) return takePicture(file);
  try {
    change({ region: parseRegion(await file.text()), cutoff: null });
  } catch (error) {
    notice.value = (error as Error).message;
  }
}
