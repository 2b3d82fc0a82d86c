// Justified rows: every picture in its own proportions, every row as wide as the page.

export interface Place {
  left: number;
  top: number;
  width: number;
  height: number; // of the picture; its bar stands below
}

export interface Row {
  top: number;
  height: number;
  first: number;
  last: number; // exclusive
}

export interface Layout {
  places: Place[];
  rows: Row[];
  height: number;
  dividerAt: number | null; // top of the line above the less likely ones
}

export const GAP = 4;
export const BAR = 4; // px under a picture, its bar of 3 among them
const DIVIDER = 48;
const TALLEST = 1.35; // times the height aimed at, before a row's pictures are left smaller than the row

/** Lay pictures out in rows about `aim` px tall, `bar` px below each; a divider stands before picture `breakAt`. */
export function justify(
  aspects: readonly number[],
  width: number,
  aim: number,
  breakAt: number | null,
  bar: number,
): Layout {
  const places: Place[] = [];
  const rows: Row[] = [];
  let top = 0;
  let dividerAt: number | null = null;
  const row = (first: number, last: number, height: number): void => {
    let left = 0;
    for (let index = first; index < last; index++) {
      const wide = aspects[index]! * height;
      places.push({ left, top, width: wide, height });
      left += wide + GAP;
    }
    rows.push({ top, height: height + bar, first, last });
    top += height + bar + GAP;
  };
  const part = (first: number, last: number): void => {
    let begin = first;
    let sum = 0;
    for (let index = first; index < last; index++) {
      sum += aspects[index]!;
      const height = (width - GAP * (index - begin)) / sum;
      if (height > aim && index + 1 < last) continue;
      row(begin, index + 1, height > aim * TALLEST ? aim : height);
      begin = index + 1;
      sum = 0;
    }
  };
  const whole = aspects.length;
  const broken = breakAt !== null && breakAt > 0 && breakAt < whole;
  part(0, broken ? breakAt : whole);
  if (broken) {
    dividerAt = top;
    top += DIVIDER;
    part(breakAt, whole);
  }
  return { places, rows, height: top, dividerAt };
}

/** Proportions as they are shown: panoramas and towers are cut to fit a row. */
export const aspectOf = (width: number, height: number): number =>
  width > 0 && height > 0 ? Math.min(3.2, Math.max(0.45, width / height)) : 1;

/** The rows that touch a stretch of the page. */
export function rowsBetween(rows: readonly Row[], from: number, to: number): [number, number] {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = rows[middle]!;
    if (row.top + row.height < from) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < rows.length && rows[end]!.top <= to) end++;
  return [low, end];
}
