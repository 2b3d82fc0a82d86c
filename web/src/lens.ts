// The word one looks through: its regions glow on every picture shown, in the grid and in the panel.

import type { Hit } from "./api";
import type { Chips } from "./chips";
import { Explanations } from "./explanations";
import type { Grid } from "./grid";
import { drawHeat } from "./heat";
import type { Panel } from "./panel";
import type { Word } from "./words";

export interface Shown {
  chips: Chips;
  grid: Grid;
  panel: Panel;
}

export class Lens {
  readonly explanations = new Explanations(() => this.arrived());
  private words: Word[] = [];
  private pointed: number | null = null; // by hover or focus
  private pinned: number | null = null; // by a click

  constructor(private readonly shown: () => Shown) {}

  /** Show other words, or the same ones as the server reads them. */
  showWords(words: Word[]): void {
    const same = words.length === this.words.length && words.every((word, i) => word.text === this.words[i]!.text);
    this.words = words;
    if (!same) this.pointed = this.pinned = null;
    this.shown().chips.showWords(words);
    this.arrived();
  }

  get isPointed(): boolean {
    return this.pointed !== null;
  }

  point(word: number | null): void {
    if (this.pointed === word) return;
    this.pointed = word;
    this.glow();
  }

  pin(word: number): void {
    this.pinned = this.pinned === word ? null : word;
    this.glow();
  }

  /** Let go of the word that is held; false when none was. */
  letGo(): boolean {
    if (this.pinned === null) return false;
    this.pin(this.pinned);
    return true;
  }

  private arrived(): void {
    this.shown().chips.strengthen(this.explanations.strengths(this.words));
    this.glow();
  }

  /** Bring grid, panel and chips to what is pointed at. */
  glow(): void {
    const { chips, grid, panel } = this.shown();
    const active = this.pointed ?? this.pinned;
    const word = active === null ? undefined : this.words[active];
    chips.mark(active, this.pinned);
    grid.glow(word?.rows.length ? (hit, canvas) => this.paint(word, hit, canvas) : null);
    const { id } = panel;
    const picture = id === null ? null : this.explanations.of(id);
    if (picture) panel.explain({ picture, words: this.words, heat: (chosen) => this.explanations.heat(picture.id, chosen) });
    else if (id !== null && !this.words.length) panel.explain(null);
    panel.light(active, this.pinned);
  }

  private paint(word: Word, hit: Hit, canvas: HTMLCanvasElement): boolean {
    const picture = this.explanations.of(hit.id);
    const heat = this.explanations.heat(hit.id, word);
    if (!picture || !heat) return false;
    drawHeat(canvas, picture, heat, hit.width / hit.height || 1);
    return true;
  }
}
