// The page's icons, 16 pixels square, drawn with the colour of the text around them.
import type { JSX } from "preact";

const PATHS = {
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  close: "M4 4l8 8M12 4l-8 8",
  search: "M7 2.5a4.500 4.500 0 1 0 0 9a4.500 4.500 0 0 0 0-9M10.300 10.300L14 14",
  undo: "M3 6h6.500a3.500 3.500 0 0 1 0 7H6M3 6l3-3M3 6l3 3",
  image: "M2.500 3h11v10h-11zM2.500 11l3.500-3.500l3 3l1.500-1.500l3 3M10.500 6.200v.1",
  sun: "M8 5a3 3 0 1 0 0 6a3 3 0 0 0 0-6M8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13 9.500A5.500 5.500 0 0 1 6.500 3a5.500 5.500 0 1 0 6.500 6.500z",
  download: "M8 2v8M4.500 7L8 10.500L11.500 7M2.500 13.500h11",
  keys: "M1.500 4h13v8h-13zM4 7h.1M7 7h.1M10 7h.1M12.500 7h.1M5 10h6",
  area: "M3 4l8-1.500l2.500 7L7 13.500z",
  layers: "M8 2l6 3.200L8 8.400L2 5.200zM2.500 8.500L8 11.500l5.500-3",
  link: "M6.500 9.500l3-3M7 4.500l1.200-1.200a2.700 2.700 0 0 1 3.800 3.800L10.800 8.300M5.200 7.700L4 8.900a2.700 2.700 0 0 0 3.800 3.800L9 11.500",
  user: "M8 2.500a2.500 2.500 0 1 0 0 5a2.500 2.500 0 0 0 0-5M3 13.500c.4-2.600 2.300-4 5-4s4.600 1.400 5 4",
  change: "M2.500 5.500h9L9 3M13.500 10.500h-9L7 13",
  watch: "M1.500 8c1.600-3 3.800-4.500 6.500-4.500s4.900 1.500 6.500 4.500c-1.600 3-3.800 4.500-6.500 4.500s-4.900-1.500-6.500-4.500zM8 6a2 2 0 1 0 0 4a2 2 0 0 0 0-4",
  fit: "M2.500 6V2.500H6M10 2.500h3.500V6M13.500 10v3.500H10M6 13.500H2.500V10",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
