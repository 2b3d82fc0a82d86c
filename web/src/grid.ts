// The hits in justified rows. Only what is near the window is in the document, however many there are.

import type { Hit } from "./api";
import { count, h, percent, set } from "./dom";
import { type Layout, type Place, BAR, aspectOf, justify, rowsBetween } from "./layout";

const MARGIN = 700; // px above and below the window that are kept ready
const END = 64; // px for what is said below the last picture
const LIKELY = 0.5; // a calibrated match

/** Draws on a picture's overlay; false when there is nothing to draw yet. */
export type Painter = (hit: Hit, canvas: HTMLCanvasElement) => boolean;

export interface GridEvents {
  open(index: number): void;
  seen(first: number, last: number): void;
  leave(): void; // upwards, out of the first row
  missing(): void; // a thumbnail did not come
}

interface Tile {
  item: HTMLElement;
  button: HTMLButtonElement;
  canvas: HTMLCanvasElement | null;
  hit: Hit;
}

export class Grid {
  readonly element = h("div", { class: "grid", id: "pictures", tabindex: -1 });
  private list = h("div", { role: "list", "aria-label": "Pictures" });
  private divider = h("p", { class: "divider", hidden: true }, h("span", {}, "less likely below"));
  private end = h("p", { class: "end", role: "note", hidden: true });
  private waiting = h("div", { class: "waiting", hidden: true, "aria-hidden": "true" });
  private hits: Hit[] = [];
  private total = 0;
  private layout: Layout = { places: [], rows: [], height: 0, dividerAt: null };
  private tiles = new Map<number, Tile>();
  private width = 0;
  private current = 0; // what Tab comes to
  private selected: number | null = null;
  private painter: Painter | null = null;
  private bar = 0; // px below each picture, where matches are known
  private due = 0;

  constructor(private readonly events: GridEvents) {
    this.element.append(this.list, this.divider, this.end, this.waiting);
    this.element.addEventListener("keydown", (event) => this.key(event));
    addEventListener("scroll", () => this.soon(), { passive: true });
    addEventListener("resize", () => this.soon());
    new ResizeObserver(() => this.resized()).observe(this.element);
  }

  get length(): number {
    return this.hits.length;
  }

  hit(index: number): Hit | undefined {
    return this.hits[index];
  }

  indexOf(id: number): number {
    return this.hits.findIndex((hit) => hit.id === id);
  }

  /** Show other hits, from the top. */
  replace(hits: Hit[], total: number): void {
    for (const index of [...this.tiles.keys()]) this.drop(index);
    this.hits = hits;
    this.total = total;
    this.current = 0;
    this.selected = null;
    this.end.hidden = true;
    this.arrange();
  }

  /** Add a further page below. */
  append(hits: Hit[], total: number): void {
    const there = new Set(this.hits.map((hit) => hit.id));
    this.hits = [...this.hits, ...hits.filter((hit) => !there.has(hit.id))];
    this.total = total;
    this.arrange();
  }

  /** Say below the last picture why there is no further one; "" says nothing. */
  conclude(said: string): void {
    this.end.hidden = !said;
    this.end.replaceChildren(...(said ? [h("span", {}, said)] : []));
    this.arrange();
  }

  /** Show grey places while the first hits, or the next, are on their way. */
  skeleton(rows: number): void {
    this.waiting.hidden = rows === 0;
    this.waiting.replaceChildren();
    const aim = this.aim();
    for (let row = 0; row < rows; row++) {
      const line = h("div", { class: "row" });
      for (let k = 0; k < 8; k++) {
        const place = h("i");
        place.style.flexGrow = String([3, 4, 2, 4, 3, 5, 2, 3][(k + 3 * row) % 8]);
        line.append(place);
      }
      line.style.height = `${aim}px`;
      this.waiting.append(line);
    }
    this.waiting.style.top = `${this.layout.height}px`;
  }

  /** Mark the picture that the panel shows. */
  select(index: number | null): void {
    const before = this.selected;
    this.selected = index;
    for (const at of [before, index]) if (at !== null) this.mark(at);
    if (index !== null) this.setCurrent(index);
    this.soon();
  }

  /** Move the keyboard to a picture. */
  focus(index: number): void {
    if (index < 0 || index >= this.hits.length) return;
    this.setCurrent(index);
    this.reveal(index);
    this.render();
    this.tiles.get(index)?.button.focus({ preventScroll: true });
  }

  get holdsFocus(): boolean {
    return this.element.contains(document.activeElement);
  }

  get atKeyboard(): number {
    return this.current;
  }

  /** Scroll as little as it takes to see a picture whole. */
  reveal(index: number): void {
    const place = this.layout.places[index];
    if (!place) return;
    const header = Number.parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop) || 0;
    const top = this.element.getBoundingClientRect().top + place.top;
    const bottom = top + place.height + this.bar;
    const floor = innerHeight - 40;
    if (top < header + 8) scrollBy(0, top - header - 8);
    else if (bottom > floor) scrollBy(0, Math.min(bottom - floor, top - header - 8));
  }

  /** Draw on every visible picture, or on none. */
  glow(painter: Painter | null): void {
    this.painter = painter;
    this.element.classList.toggle("glowing", painter !== null);
    for (const tile of this.tiles.values()) this.paint(tile);
  }

  private paint(tile: Tile): void {
    if (!this.painter) return tile.canvas?.classList.remove("on");
    if (!tile.canvas) {
      tile.canvas = h("canvas", { class: "glow", width: 1, height: 1 });
      tile.button.querySelector("img")?.after(tile.canvas);
      void tile.canvas.offsetWidth; // so that the first one fades in as well
    }
    tile.canvas.classList.toggle("on", this.painter(tile.hit, tile.canvas));
  }

  private aim(): number {
    return this.width < 560 ? 132 : this.width < 900 ? 168 : this.width < 1800 ? 204 : 256;
  }

  private resized(): void {
    const width = this.element.clientWidth;
    if (width === this.width || !width) return;
    this.width = width;
    this.arrange();
    if (this.selected !== null) this.reveal(this.selected);
  }

  private arrange(): void {
    if (!this.width) this.width = this.element.clientWidth;
    const aspects = this.hits.map((hit) => aspectOf(hit.width, hit.height));
    const lastGood = this.hits.findLastIndex((hit) => (hit.probability ?? 1) >= LIKELY);
    this.bar = this.hits.some((hit) => hit.probability !== null) ? BAR : 0;
    this.layout = justify(aspects, this.width, this.aim(), lastGood >= 0 ? lastGood + 1 : null, this.bar);
    this.element.style.setProperty("--bar-space", `${this.bar}px`);
    this.element.style.height = `${this.layout.height + (this.end.hidden ? 0 : END)}px`;
    this.end.style.top = `${this.layout.height}px`;
    this.divider.hidden = this.layout.dividerAt === null;
    this.divider.style.top = `${this.layout.dividerAt ?? 0}px`;
    for (const [index, tile] of this.tiles) this.place(tile.item, this.layout.places[index]);
    this.render();
  }

  private soon(): void {
    this.due ||= requestAnimationFrame(() => {
      this.due = 0;
      this.render();
    });
  }

  private render(): void {
    this.due = 0;
    const top = this.element.getBoundingClientRect().top;
    const [from, to] = rowsBetween(this.layout.rows, -top - MARGIN, innerHeight - top + MARGIN);
    const first = this.layout.rows[from]?.first ?? 0;
    const last = this.layout.rows[to - 1]?.last ?? 0;
    for (const index of [...this.tiles.keys()])
      if ((index < first || index >= last) && index !== this.current) this.drop(index);
    for (let index = first; index < last; index++) if (!this.tiles.has(index)) this.make(index);
    if (this.current < this.hits.length && !this.tiles.has(this.current)) this.make(this.current);
    const [seen, unseen] = rowsBetween(this.layout.rows, -top, innerHeight - top);
    this.events.seen(this.layout.rows[seen]?.first ?? 0, this.layout.rows[unseen - 1]?.last ?? 0);
  }

  private make(index: number): void {
    const hit = this.hits[index];
    if (!hit) return;
    const image = h("img", { alt: "", draggable: "false", decoding: "async" });
    const button = h("button", { type: "button", class: "picture", "aria-label": this.describe(index, hit) }, image);
    button.tabIndex = index === this.current ? 0 : -1;
    if (hit.copies > 0) button.append(h("span", { class: "copies", "aria-hidden": "true" }, `+${hit.copies}`));
    if (hit.probability !== null) {
      const filled = h("span");
      filled.style.width = `${100 * hit.probability}%`;
      button.append(h("span", { class: hit.probability >= LIKELY ? "match" : "match low" }, filled));
    }
    button.addEventListener("click", () => {
      this.setCurrent(index);
      this.events.open(index);
    });
    const item = h("div", { role: "listitem", class: "tile", "aria-posinset": index + 1, "aria-setsize": this.total }, button);
    this.load(image, button, hit);
    this.place(item, this.layout.places[index]);
    const tile: Tile = { item, button, canvas: null, hit };
    this.tiles.set(index, tile);
    this.list.insertBefore(item, this.following(index));
    this.mark(index);
    if (this.painter) this.paint(tile);
  }

  /** The tile that comes after in reading order, so that Tab and screen readers walk as the eye does. */
  private following(index: number): HTMLElement | null {
    let best: number | null = null;
    for (const other of this.tiles.keys()) if (other > index && (best === null || other < best)) best = other;
    return best === null ? null : (this.tiles.get(best)?.item ?? null);
  }

  private load(image: HTMLImageElement, button: HTMLElement, hit: Hit): void {
    image.addEventListener("load", () => image.classList.add("loaded"));
    image.addEventListener("error", () => {
      if (button.classList.contains("lost")) return;
      button.classList.add("lost");
      button.prepend(h("span", { class: "missing" }, "no longer there"));
      this.events.missing();
    });
    image.src = hit.thumbnail;
    if (image.complete && image.naturalWidth) image.classList.add("loaded", "at-once");
  }

  /** Ask again for the thumbnails that did not come. */
  retry(): void {
    for (const { button, hit } of this.tiles.values()) {
      if (!button.classList.contains("lost")) continue;
      button.classList.remove("lost");
      button.querySelector(".missing")?.remove();
      button.querySelector("img")!.src = hit.thumbnail;
    }
  }

  private describe(index: number, hit: Hit): string {
    const parts = [`Picture ${count(index + 1)} of ${count(this.total)}: ${hit.name}`];
    if (hit.probability !== null) parts.push(`match ${percent(hit.probability)}`);
    if (hit.copies > 0) parts.push(`and ${hit.copies} like it`);
    return parts.join(", ");
  }

  private place(item: HTMLElement, place: Place | undefined): void {
    if (!place) return;
    item.style.transform = `translate(${place.left}px, ${place.top}px)`;
    item.style.width = `${place.width}px`;
    item.style.height = `${place.height + this.bar}px`;
  }

  private drop(index: number): void {
    this.tiles.get(index)?.item.remove();
    this.tiles.delete(index);
  }

  private mark(index: number): void {
    const button = this.tiles.get(index)?.button;
    if (button) set(button, "aria-current", index === this.selected ? "true" : null);
  }

  private setCurrent(index: number): void {
    const before = this.tiles.get(this.current);
    if (before) before.button.tabIndex = -1;
    this.current = index;
    const now = this.tiles.get(index);
    if (now) now.button.tabIndex = 0;
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    let to: number | null = null;
    if (step) to = this.current + step;
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") to = this.across(event.key === "ArrowDown" ? 1 : -1);
    else if (event.key === "Home") to = 0;
    else if (event.key === "End") to = this.hits.length - 1;
    else return;
    event.preventDefault();
    event.stopPropagation();
    if (to === null) return void (event.key === "ArrowUp" && this.events.leave());
    if (to < 0 || to >= this.hits.length) return;
    this.focus(to);
    if (this.selected !== null) this.events.open(to);
  }

  /** The picture above or below the current one. */
  private across(step: 1 | -1): number | null {
    const place = this.layout.places[this.current];
    const row = this.layout.rows.findIndex(({ first, last }) => first <= this.current && this.current < last) + step;
    const target = this.layout.rows[row];
    if (!place || !target) return null;
    const middle = place.left + place.width / 2;
    let best = target.first;
    for (let index = target.first; index < target.last; index++)
      if (this.layout.places[index]!.left <= middle) best = index;
    return best;
  }
}
