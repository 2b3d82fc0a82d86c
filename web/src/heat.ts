// A word's weights over a picture. The unit is the even spread: 1 is a region looked at as much as any other.

import type { Explained } from "./api";
import type { Word } from "./words";

const STRONG = 4; // times an even share: a word whose strongest region is below it stays faint
const FIELD = 56; // cells along the longer side of an interpolated map
const SHOWN_BOXES = 8;
const VEIL = 0.52; // how much the rest dims

/** How often an even share each region got from a word. */
export function densities(picture: Explained, word: Word): Float32Array {
  const regions = picture.weights[0]?.length ?? 0;
  const sum = new Float32Array(regions);
  for (const row of word.rows) picture.weights[row]?.forEach((weight, region) => (sum[region]! += weight));
  const scale = word.rows.length ? 1 / word.rows.length : 0;
  if (!picture.grids.length) return sum.map((weight) => weight * scale * regions);
  for (const [start, rows, columns] of picture.grids)
    for (let cell = start; cell < start + rows * columns; cell++) sum[cell]! *= scale * rows * columns;
  return sum;
}

/** Bring densities to 0 (even or less) … 1 (what is strong among the pictures shown). */
export function heats(density: Float32Array, peak: number): Float32Array {
  const most = Math.max(peak, STRONG) - 1;
  return density.map((value) => Math.min(1, Math.max(0, (value - 1) / most)));
}

/** Draw a word's heat; what it did not meet dims. `aspect` is the whole picture's, also where a tile cuts it. */
export function drawHeat(canvas: HTMLCanvasElement, picture: Explained, heat: Float32Array, aspect: number): void {
  if (picture.grids.length) drawField(canvas, picture, heat, aspect);
  else if (picture.boxes) drawBoxes(canvas, picture.boxes, heat, aspect);
  else clear(canvas);
}

/** Wipe a canvas. */
export function clear(canvas: HTMLCanvasElement): void {
  canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
}

function drawField(canvas: HTMLCanvasElement, picture: Explained, heat: Float32Array, aspect: number): void {
  const columns = Math.max(2, Math.round(aspect >= 1 ? FIELD : FIELD * aspect));
  const rows = Math.max(2, Math.round(aspect >= 1 ? FIELD / aspect : FIELD));
  resize(canvas, columns, rows);
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const field = interpolated(heat, picture.grids, columns, rows);
  const image = pen.createImageData(columns, rows);
  for (let i = 0; i < field.length; i++) image.data.set(shade(field[i]!), 4 * i);
  pen.putImageData(image, 0, 0);
}

/** Between the centres of a grid's cells values change smoothly; beyond the outer centres they stay. */
function interpolated(heat: Float32Array, grids: Explained["grids"], columns: number, rows: number): Float32Array {
  const field = new Float32Array(columns * rows);
  const cells = grids.reduce((sum, [, down, across]) => sum + down * across, 0);
  for (const [start, down, across] of grids) {
    const share = (down * across) / cells;
    const vertical = between(down, rows);
    const horizontal = between(across, columns);
    for (let y = 0; y < rows; y++) {
      const [top, below, dv] = vertical[y]!;
      for (let x = 0; x < columns; x++) {
        const [left, beside, du] = horizontal[x]!;
        const upper = mix(heat[start + top * across + left]!, heat[start + top * across + beside]!, du);
        const lower = mix(heat[start + below * across + left]!, heat[start + below * across + beside]!, du);
        field[y * columns + x]! += share * mix(upper, lower, dv);
      }
    }
  }
  return field;
}

const mix = (a: number, b: number, part: number): number => a + part * (b - a);
const smooth = (from: number, to: number, value: number): number => {
  const t = Math.min(1, Math.max(0, (value - from) / (to - from)));
  return t * t * (3 - 2 * t);
};

function between(cells: number, size: number): [number, number, number][] {
  return Array.from({ length: size }, (_, i) => {
    const at = Math.min(cells - 1, Math.max(0, ((i + 0.5) / size) * cells - 0.5));
    const low = Math.floor(at);
    return [low, Math.min(cells - 1, low + 1), smooth(0, 1, at - low)];
  });
}

/** The ramp, as a colour to lay over the picture: a dark veil → nothing → amber → white-hot. */
export function shade(heat: number): [number, number, number, number] {
  const veil = VEIL * (1 - smooth(0, 0.5, heat));
  const glow = 0.66 * smooth(0.05, 0.85, heat);
  const alpha = glow + veil * (1 - glow);
  if (!alpha) return [0, 0, 0, 0];
  const white = smooth(0.6, 1, heat);
  const part = glow / alpha;
  return [
    Math.round(mix(8, 255, part)),
    Math.round(mix(10, mix(166, 246, white), part)),
    Math.round(mix(14, mix(0, 214, white), part)),
    Math.round(255 * alpha),
  ];
}

/** The ramp's own colour, for outlines. */
const flame = (heat: number, alpha: number): string => {
  const white = smooth(0.55, 1, heat);
  return `rgba(255, ${Math.round(mix(166, 246, white))}, ${Math.round(mix(0, 214, white))}, ${alpha})`;
};

type Boxes = NonNullable<Explained["boxes"]>;

function drawBoxes(canvas: HTMLCanvasElement, boxes: Boxes, heat: Float32Array, aspect: number): void {
  const [pen, width, height, ratio] = sharp(canvas, aspect);
  if (!pen) return;
  pen.fillStyle = `rgba(8, 10, 14, ${VEIL})`;
  pen.fillRect(0, 0, width, height);
  const order = [...heat.keys()].filter((box) => heat[box]! > 0.08).sort((a, b) => heat[a]! - heat[b]!);
  const shown = order.slice(-SHOWN_BOXES).map((box) => ({ heat: heat[box]!, box: scaled(boxes[box]!, width, height) }));
  pen.globalCompositeOperation = "destination-out";
  for (const { heat: t, box } of shown) {
    pen.fillStyle = `rgba(0, 0, 0, ${smooth(0.02, 0.42, t)})`;
    pen.fillRect(...box);
  }
  pen.globalCompositeOperation = "source-over";
  for (const { heat: t, box } of shown) {
    pen.fillStyle = flame(t, 0.22 * t);
    pen.fillRect(...box);
    outline(pen, box, [[`rgba(0, 0, 0, ${0.25 + 0.4 * t})`, 2 + 2 * t], [flame(t, 0.45 + 0.55 * t), 1 + 1.5 * t]], ratio);
  }
}

/** Outline one region, as one points at it. */
export function drawRegion(canvas: HTMLCanvasElement, picture: Explained, region: number, aspect: number): void {
  const [pen, width, height, ratio] = sharp(canvas, aspect);
  const box = boxOf(picture, region);
  if (!pen || !box) return;
  pen.clearRect(0, 0, width, height);
  outline(pen, scaled(box, width, height), [["rgba(0, 0, 0, .7)", 4], ["rgba(255, 255, 255, .95)", 2]], ratio);
}

type Rectangle = [x: number, y: number, width: number, height: number];

function outline(pen: CanvasRenderingContext2D, box: Rectangle, lines: [string, number][], ratio: number): void {
  const [x, y, width, height] = box;
  const inset = (lines[0]![1] * ratio) / 2;
  for (const [style, line] of lines) {
    pen.strokeStyle = style;
    pen.lineWidth = line * ratio;
    pen.strokeRect(x + inset, y + inset, Math.max(1, width - 2 * inset), Math.max(1, height - 2 * inset));
  }
}

const scaled = ([x0, y0, x1, y1]: [number, number, number, number], width: number, height: number): Rectangle => [
  x0 * width,
  y0 * height,
  (x1 - x0) * width,
  (y1 - y0) * height,
];

function sharp(canvas: HTMLCanvasElement, aspect: number): [CanvasRenderingContext2D | null, number, number, number] {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const covered = Math.max(canvas.clientWidth, canvas.clientHeight * aspect);
  const width = Math.max(1, Math.round(covered * ratio));
  const height = Math.max(1, Math.round((covered / aspect) * ratio));
  resize(canvas, width, height);
  return [canvas.getContext("2d"), width, height, ratio];
}

function resize(canvas: HTMLCanvasElement, width: number, height: number): void {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  else clear(canvas);
}

/** Where a region lies, as shares of the picture. */
export function boxOf(picture: Explained, region: number): [number, number, number, number] | null {
  for (const [start, rows, columns] of picture.grids) {
    const cell = region - start;
    if (cell < 0 || cell >= rows * columns) continue;
    const row = Math.floor(cell / columns);
    const column = cell % columns;
    return [column / columns, row / rows, (column + 1) / columns, (row + 1) / rows];
  }
  return picture.boxes?.[region] ?? null;
}

/** The region at a place of the picture: a cell of the finest grid, or the smallest box around the place. */
export function regionAt(picture: Explained, x: number, y: number): number | null {
  const finest = picture.grids.reduce<Explained["grids"][0] | null>(
    (best, grid) => (!best || grid[1] * grid[2] > best[1] * best[2] ? grid : best),
    null,
  );
  if (finest) {
    const [start, rows, columns] = finest;
    const row = Math.min(rows - 1, Math.max(0, Math.floor(y * rows)));
    return start + row * columns + Math.min(columns - 1, Math.max(0, Math.floor(x * columns)));
  }
  let best: number | null = null;
  let least = Infinity;
  picture.boxes?.forEach(([x0, y0, x1, y1], region) => {
    const area = (x1 - x0) * (y1 - y0);
    if (x0 <= x && x <= x1 && y0 <= y && y <= y1 && area < least) [best, least] = [region, area];
  });
  return best;
}

/** The region beside another, for the arrow keys; boxes follow each other in their order. */
export function beside(picture: Explained, region: number, across: number, down: number): number {
  const grid = picture.grids.find(([start, rows, columns]) => region >= start && region < start + rows * columns);
  if (!grid) {
    const last = (picture.boxes?.length ?? 1) - 1;
    return Math.min(last, Math.max(0, region + across + down));
  }
  const [start, rows, columns] = grid;
  const row = Math.floor((region - start) / columns) + down;
  const column = ((region - start) % columns) + across;
  return start + Math.min(rows - 1, Math.max(0, row)) * columns + Math.min(columns - 1, Math.max(0, column));
}
