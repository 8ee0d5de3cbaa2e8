// A chip's picture: fetched while it is in sight, with a sign of its own while it loads and where there is none.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { fetchPicture, pictureAddress, pictureHere, whyNoPicture } from "../api/pictures";

interface Props {
  readonly id: string;
  readonly size: number;
  readonly context?: number;
  readonly alt: string;
}

export function Picture({ id, size, context = 1, alt }: Props): JSX.Element {
  const address = pictureAddress(id, size, context);
  const [found, setFound] = useState({ address, url: pictureHere(address) ?? "", problem: "" });
  const current = found.address === address ? found : { address, url: pictureHere(address) ?? "", problem: "" };
  useEffect(() => {
    if (current.url) return;
    const controller = new AbortController();
    fetchPicture(address, controller.signal).then(
      (url) => setFound({ address, url, problem: "" }),
      (error: unknown) => {
        const problem = whyNoPicture(error);
        if (problem) setFound({ address, url: "", problem });
      },
    );
    return () => controller.abort();
  }, [address]);
  if (current.problem) return <span class="picture missing">{current.problem}</span>;
  if (!current.url) return <span class="picture loading" role={alt ? "img" : undefined} aria-label={alt || undefined} />;
  return <img class="picture" src={current.url} alt={alt} draggable={false} />;
}
