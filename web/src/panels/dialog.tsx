// A dialog: the browser's own, which keeps the focus inside and gives it back.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "./icons";
import { Notice, openDialogs } from "./notice";

interface Props {
  readonly title: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly wide?: boolean;
  readonly children: ComponentChildren;
}

export function Dialog({ title, isOpen, onClose, wide = false, children }: Props): JSX.Element {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const dialog = element.current!;
    dialog.showModal();
    openDialogs.value = [...openDialogs.value, title];
    return () => {
      dialog.close();
      openDialogs.value = openDialogs.value.filter((each) => each !== title);
    };
  }, [isOpen]);
  // the browser says it a moment later: by then the dialog may be open again, as after a wrong key
  const closed = (): void => {
    if (!element.current!.open) onClose();
  };
  return (
    <dialog
      ref={element}
      class={wide ? "wide" : ""}
      aria-label={title}
      onClose={closed}
      onClick={(event) => event.target === element.current && onClose()}
    >
      {isOpen && (
        <div class="inside">
          <header>
            <h2>{title}</h2>
            <button class="bare" aria-label="Close" title="Close (Esc)" onClick={onClose}>
              <Icon name="close" />
            </button>
          </header>
          {children}
          <Notice dialog={title} />
        </div>
      )}
    </dialog>
  );
}
