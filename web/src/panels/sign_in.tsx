// Asks for the key, once a tab.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { asksForKey, key, signIn } from "../state/session";
import { askWhatIsServed, served } from "../state/served";
import { asksForSomething } from "../state/query";
import { query, searchAgain } from "../state/store";
import { Dialog } from "./dialog";

export function SignIn(): JSX.Element {
  const [problem, setProblem] = useState("");
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    const input = (event.currentTarget as HTMLFormElement).elements.namedItem("key") as HTMLInputElement;
    signIn(input.value);
    served.value = null;
    await askWhatIsServed();
    setProblem(asksForKey.value ? "The service doesn’t know this key." : "");
    if (!asksForKey.value && asksForSomething(query.value)) searchAgain();
  };
  return (
    <Dialog title="Sign in" isOpen={asksForKey.value} onClose={() => (asksForKey.value = false)}>
      <form class="stack" onSubmit={(event) => void submit(event)}>
        <p>This service answers to keys. Its operator has yours.</p>
        <label>
          Key
          <input name="key" type="password" autocomplete="off" required autofocus aria-describedby="key-problem" />
        </label>
        <p id="key-problem" class="problem" role="alert">{problem || (key.value ? "This key isn’t accepted." : "")}</p>
        <div class="actions">
          <button type="submit" class="primary">Sign in</button>
        </div>
        <p class="hint">The key stays in this tab until it is closed. It is in no address, and not stored on disk.</p>
      </form>
    </Dialog>
  );
}
