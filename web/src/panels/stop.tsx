// The button that gives up what takes its time.
import type { JSX } from "preact";

interface Props {
  readonly stop: () => void;
  /** A selector: the button goes away with the work, and the focus goes there. */
  readonly focusOn: string;
  /** Whether it appears only where the work takes longer than usual, so that it doesn't flicker. */
  readonly isLate?: boolean;
}

export function Stop({ stop, focusOn, isLate = false }: Props): JSX.Element {
  const onClick = (): void => {
    stop();
    requestAnimationFrame(() => document.querySelector<HTMLElement>(focusOn)?.focus());
  };
  return <button type="button" class={isLate ? "link late" : "link"} onClick={onClick}>Stop</button>;
}
