import { render } from "preact";
import "./style/tokens.css";
import "./style/parts.css";
import "./style/layout.css";
import { App } from "./app";
import { startDropping } from "./dropping";
import { startKeyboard } from "./keyboard";
import { followArchive } from "./state/archive";
import { followExamples } from "./state/example_places";
import { watchWhatIsServed } from "./state/served";
import { start } from "./state/store";
import { startTheme } from "./state/theme";
import { followWatches } from "./state/watches";

startTheme();
// a task of its own: the browser has laid out the empty document by then, and isn't busy for long at a time
setTimeout(() => {
  render(<App />, document.getElementById("app")!);
  start();
  startKeyboard();
  startDropping();
  watchWhatIsServed();
  followArchive();
  followExamples();
  followWatches();
});
