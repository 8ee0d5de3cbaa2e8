// The page: query on the left, map in the middle, results on the right, distances and dates below.
import type { JSX } from "preact";
import { isDragging } from "./dropping";
import { Grid } from "./grid/grid";
import { MapView } from "./map/map";
import { ChangesDialog } from "./panels/changes_dialog";
import { ChipDialog } from "./panels/chip_dialog";
import { Examples } from "./panels/examples";
import { ExportDialog } from "./panels/export_dialog";
import { Filters } from "./panels/filters";
import { Histogram } from "./panels/histogram";
import { KeysDialog } from "./panels/keys_dialog";
import { Notice } from "./panels/notice";
import { SignIn } from "./panels/sign_in";
import { Timeline } from "./panels/timeline";
import { TopBar } from "./panels/topbar";
import { WatchesDialog } from "./panels/watches_dialog";
import { answer } from "./state/store";

export function App(): JSX.Element {
  return (
    <>
      <TopBar />
      <main class={answer.value ? "with-answer" : ""}>
        <aside class="query" aria-label="Query">
          <Examples />
          <Filters />
        </aside>
        <MapView />
        <Grid />
        {answer.value && (
          <div class="below">
            <Histogram />
            <Timeline />
          </div>
        )}
      </main>
      <Notice />
      {isDragging.value && <div class="dropping">Drop a picture to search with it, or GeoJSON to search within it</div>}
      <ChipDialog />
      <ExportDialog />
      <ChangesDialog />
      <WatchesDialog />
      <KeysDialog />
      <SignIn />
    </>
  );
}
