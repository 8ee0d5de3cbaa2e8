// Asks for the key, once a tab.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { asksForKey, keepKey, key } from "../state/session";
import { askWhatIsServed, served, servedFailure } from "../state/served";
import { asksForSomething } from "../state/query";
import { query, searchAgain } from "../state/store";
import { Dialog } from "./dialog";

export function SignIn(): JSX.Element {
  const [isAsking, setAsking] = useState(false);
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem("key") as HTMLInputElement;
    setAsking(true);
    keepKey(input.value);
    served.value = null;
    await askWhatIsServed();
    setAsking(false);
    if (servedFailure.value?.status === 401) return;
    asksForKey.value = false;
    if (asksForSomething(query.value)) searchAgain();
  };
  return (
    <Dialog title="Sign in" isOpen={asksForKey.value} onClose={() => (asksForKey.value = false)}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        <p>This service answers to keys. Its operator has yours.</p>
        <label>
          Key
          <input name="key" type="password" autocomplete="off" required autofocus aria-describedby="key-problem" />
        </label>
        <p id="key-problem" class="problem" role="alert">{key.value && !isAsking ? "The service doesn’t know this key." : ""}</p>
        <div class="actions">
          <button type="submit" class="primary">Sign in</button>
        </div>
        <p class="hint">The key stays in this tab until it is closed. It is in no address, and not stored on disk.</p>
      </form>
    </Dialog>
  );
}
