// How many chips lie at each distance, and the cutoff to drag. The slider is a plain one, laid over the bars.
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { answer, query, setCutoff, shown } from "../state/store";
import { histogram } from "../state/histogram";
import { colourOf } from "../map/colours";
import { isDark } from "../state/theme";
import { counted, number } from "./format";
import { rangeEnd } from "./histogram_range";

const HEIGHT = 56;

export function Histogram(): JSX.Element | null {
  const found = answer.value;
  const counts = histogram.value;
  const [width, setWidth] = useState(600);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => entry && setWidth(entry.contentRect.width));
    if (box.current) observer.observe(box.current);
    return () => observer.disconnect();
  }, [found === null]);
  if (!found || !counts || !counts.counts.length) return null;
  const cutoff = query.value.cutoff;
  const { first } = counts;
  const last = rangeEnd(first, counts.counts.length, found.distances[0] ?? first, found.distances.at(-1) ?? first, found.chance, cutoff);
  const bars = counts.counts.slice(0, last - first + 1);
  const tallest = Math.log1p(Math.max(...bars));
  const step = width / (last - first + 1);
  const limit = cutoff ?? Math.ceil(found.distances.at(-1) ?? first);
  const within = counts.counts.slice(0, Math.max(0, Math.floor(limit) - first + 1)).reduce((sum, each) => sum + each, 0);
  const least = found.distances[0] ?? first;
  const greatest = found.distances[shown.value - 1] ?? least;
  return (
    <section class="histogram" aria-labelledby="histogram-title">
      <header class="head">
        <h2 id="histogram-title">Distance</h2>
        <p class="status">
          {counted(within, "chip")} within <strong>{counted(Math.floor(limit), "bit")}</strong>
          {within > shown.value && cutoff === null && `, ${number(shown.value)} shown`}
        </p>
        {query.value.negative.length > 0 && <p class="status">to what is liked, less to what isn’t: the lower, the better</p>}
        {cutoff !== null && <button class="link" onClick={() => setCutoff(null)}>No cutoff</button>}
      </header>
      <div class="plot" ref={box}>
        <svg width={width} height={HEIGHT} aria-hidden="true">
          {bars.map((count, place) => {
            const height = count ? Math.max(2, (Math.log1p(count) / tallest) * (HEIGHT - 4)) : 0;
            const bits = first + place;
            const isIn = bits <= limit;
            return (
              <rect
                key={bits}
                x={place * step}
                y={HEIGHT - height}
                width={Math.max(step - (step > 4 ? 1 : 0), 0.5)}
                height={height}
                class={isIn ? "in" : "out"}
                style={isIn ? { fill: colourOf(bits, least, greatest, isDark.value) } : {}}
              />
            );
          })}
          {found.chance !== null && found.chance <= last && (
            <line class="chance" x1={(found.chance - first + 1) * step} x2={(found.chance - first + 1) * step} y1="0" y2={HEIGHT} />
          )}
          <line class="cutoff" x1={(Math.min(limit, last) - first + 1) * step} x2={(Math.min(limit, last) - first + 1) * step} y1="0" y2={HEIGHT} />
        </svg>
        <input
          type="range"
          class="cutoff-slider"
          aria-label="Cutoff: greatest distance shown, in bits"
          aria-valuetext={`${number(Math.floor(limit))} bits, ${counted(within, "chip")}`}
          min={first}
          max={last}
          step="1"
          value={Math.min(Math.floor(limit), last)}
          onInput={(event) => setCutoff(Number(event.currentTarget.value))}
        />
      </div>
      <div class="axis">
        <span>{counted(first, "bit")}</span>
        {found.chance !== null && found.chance <= last && <span class="chance-note">dashed: beyond {number(found.chance)} bits it is chance</span>}
        {found.chance === null && !found.watched && query.value.positive.length + query.value.negative.length > 1 && (
          <span class="chance-note">what chance gives is known for one example only</span>
        )}
        <span>{number(last)}</span>
      </div>
    </section>
  );
}
