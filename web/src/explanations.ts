// Why pictures matched, asked for as they come into view and kept while the sentence stays.

import { type Explained, type Explanation, cancelled, get } from "./api";
import { densities, heats } from "./heat";
import type { Word } from "./words";

const TOGETHER = 24; // pictures a request
const STANDARD = 0.7; // the picture at this rank sets the scale, so that one glaring picture does not dim all others

export class Explanations {
  private known = new Map<number, Explained>();
  private failed = new Set<number>();
  private peaks = new Map<Word, number>();
  private wanted: number[] = [];
  private running: AbortController | null = null;
  private sentence = "";

  constructor(private readonly changed: () => void) {}

  /** Begin anew for another sentence; an empty one has nothing to explain. */
  reset(sentence: string): void {
    if (sentence === this.sentence) return void this.failed.clear();
    this.running?.abort();
    this.running = null;
    this.sentence = sentence;
    this.known.clear();
    this.failed.clear();
    this.peaks.clear();
    this.wanted = [];
  }

  /** Ask for pictures, first come first; what is known is not asked again. */
  want(ids: number[]): void {
    this.wanted = ids;
    if (!this.running) void this.fetch();
  }

  private async fetch(): Promise<void> {
    const mine = (this.running = new AbortController());
    while (this.sentence && this.running === mine) {
      const ids = this.wanted.filter((id) => !this.known.has(id) && !this.failed.has(id)).slice(0, TOGETHER);
      if (!ids.length) break;
      const fields = new URLSearchParams({ ids: ids.join(","), q: this.sentence });
      try {
        const answer = await get<Explanation>(`/api/explain?${fields}`, mine.signal);
        for (const picture of answer.pictures) this.known.set(picture.id, picture);
      } catch (error) {
        if (cancelled(error)) return;
      }
      for (const id of ids) if (!this.known.has(id)) this.failed.add(id);
      if (this.known.size <= TOGETHER) this.peaks.clear();
      this.changed();
    }
    if (this.running === mine) this.running = null;
  }

  /** What is known of a picture. */
  of(id: number): Explained | null {
    return this.known.get(id) ?? null;
  }

  /** A word's heat over a picture's regions, on one scale for all pictures shown. */
  heat(id: number, word: Word): Float32Array | null {
    const picture = this.known.get(id);
    return picture && word.rows.length ? heats(densities(picture, word), this.peak(word)) : null;
  }

  private peak(word: Word): number {
    let peak = this.peaks.get(word);
    if (peak === undefined) {
      const peaks = [...this.known.values()].map((picture) => densities(picture, word).reduce((a, b) => Math.max(a, b), 0));
      peak = peaks.sort((a, b) => a - b)[Math.floor(STANDARD * peaks.length)] ?? 0;
      this.peaks.set(word, peak);
    }
    return peak;
  }

  /** How much each word counted in the first pictures, against the word that counted most; null while unknown. */
  strengths(words: Word[]): number[] | null {
    const first = [...this.known.values()].slice(0, TOGETHER);
    if (!first.length) return null;
    const sums = words.map((word) => first.reduce((sum, picture) => sum + significance(picture, word), 0));
    const most = Math.max(...sums);
    return most > 0 ? sums.map((sum) => sum / most) : null;
  }
}

/** A word's share of a picture's score. */
export const significance = (picture: Explained, word: Word): number =>
  word.rows.reduce((sum, row) => sum + (picture.significance[row] ?? 0), 0);
