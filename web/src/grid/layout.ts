// Which cards are in the document: few, however many results there are.

const CARD_WIDTH = 116; // least, in CSS pixels
export const GAP = 8;
const FACTS = 28; // below the picture
const ROWS_AROUND = 4; // above and below what is in sight

export interface Layout {
  readonly columns: number;
  readonly rowHeight: number;
  readonly first: number;
  readonly last: number;
}

/** Return which rows of cards are in the document. */
export function layoutOf(width: number, height: number, scrolled: number, count: number): Layout {
  const columns = Math.max(2, Math.floor((width + GAP) / (CARD_WIDTH + GAP)));
  const rowHeight = (width - GAP * (columns - 1)) / columns + FACTS + GAP;
  const rows = Math.ceil(count / columns);
  const first = Math.max(0, Math.floor(scrolled / rowHeight) - ROWS_AROUND);
  const last = Math.min(rows, Math.ceil((scrolled + height) / rowHeight) + ROWS_AROUND);
  return { columns, rowHeight, first, last };
}
