// The row below the box: the sentence's words, then everything else that narrows the search.

import { ICONS, h, icon, set } from "./dom";
import { label } from "./filters";
import type { Dropped } from "./picture";
import type { Query } from "./query";
import { unwanted } from "./query";
import type { Word } from "./words";

export interface ChipEvents {
  point(word: number | null): void; // hover and focus
  pin(word: number): void;
  change(changed: (query: Query) => Query): void;
  weigh(weight: number): void;
  filter(anchor: HTMLElement): void;
}

export class Chips {
  readonly element = h("div", { class: "chips" });
  private words = h("div", { class: "words", role: "toolbar", "aria-label": "Words of the search" });
  private terms = h("div", { class: "terms" });
  private add = h("button", { type: "button", class: "chip add", "aria-expanded": "false", "aria-haspopup": "dialog" });
  private buttons: HTMLButtonElement[] = [];
  private shown = "";

  constructor(private readonly events: ChipEvents) {
    this.add.append(icon(ICONS.add), "filter");
    this.add.addEventListener("click", () => events.filter(this.add));
    this.element.append(this.words, this.terms);
    this.words.addEventListener("keydown", (event) => this.key(event));
  }

  /** Show the words; the same words again keep their buttons, so that hover and focus stay. */
  showWords(words: Word[]): void {
    const texts = words.map((word) => word.text).join("\n");
    if (texts !== this.shown) {
      this.shown = texts;
      const held = this.buttons.findIndex((button) => button === document.activeElement);
      this.buttons = words.map((word, index) => this.button(word.text, index));
      this.words.replaceChildren(...this.buttons);
      if (held >= 0) this.buttons[Math.min(held, this.buttons.length - 1)]?.focus();
    }
    words.forEach((word, index) => {
      const button = this.buttons[index]!;
      button.classList.toggle("unknown", !word.known);
      button.classList.toggle("small", !word.content);
      const name = word.known ? null : `${word.text}: the model does not know this word`;
      set(button, "aria-label", name);
      set(button, "title", name);
    });
    this.words.hidden = words.length === 0;
  }

  /** Paler the less a word counted. */
  strengthen(strengths: number[] | null): void {
    this.buttons.forEach((button, index) => {
      const strength = strengths?.[index];
      if (strength === undefined) button.style.removeProperty("--strength");
      else button.style.setProperty("--strength", `${Math.round(100 * Math.min(1, strength * 1.25))}%`);
    });
  }

  /** Mark the word whose regions glow, and the one that is held. */
  mark(active: number | null, pinned: number | null): void {
    this.buttons.forEach((button, index) => {
      button.classList.toggle("active", index === active);
      set(button, "aria-pressed", index === pinned ? "true" : "false");
    });
  }

  /** Show what else narrows the search. */
  showTerms(query: Query): void {
    const made: HTMLElement[] = [];
    const { picture } = query;
    if (picture) made.push(this.pictureChip(picture));
    for (const id of query.like) made.push(this.likeChip(id, "like"));
    for (const id of query.unlike) made.push(this.likeChip(id, "unlike"));
    for (const word of unwanted(query)) {
      const without = (now: Query): Query => ({ ...now, minus: but(now.minus, word), text: cut(now.text, word) });
      made.push(this.chip(`– ${word}`, `Remove: not ${word}`, () => this.events.change(without)));
    }
    for (const clause of query.where) {
      const without = (now: Query): Query => ({ ...now, where: but(now.where, clause) });
      made.push(this.chip(label(clause), `Remove filter: ${label(clause)}`, () => this.events.change(without)));
    }
    const held = this.terms.contains(document.activeElement) && document.activeElement !== this.add;
    this.terms.replaceChildren(...made, this.add);
    if (held) (made.at(-1)?.querySelector("button") ?? made.at(-1) ?? this.add).focus();
  }

  private button(text: string, index: number): HTMLButtonElement {
    const button = h("button", { type: "button", class: "chip word", "aria-pressed": "false" }, text);
    button.tabIndex = index ? -1 : 0;
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.events.point(index));
    button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.events.point(null));
    button.addEventListener("focus", () => button.matches(":focus-visible") && this.events.point(index));
    button.addEventListener("blur", () => this.events.point(null));
    button.addEventListener("click", () => this.events.pin(index));
    return button;
  }

  private key(event: KeyboardEvent): void {
    const at = this.buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: this.buttons.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = this.buttons[to];
    if (!next) return;
    for (const button of this.buttons) button.tabIndex = button === next ? 0 : -1;
    next.focus();
  }

  private chip(text: string, name: string, remove: () => void, ...before: Node[]): HTMLButtonElement {
    const button = h("button", { type: "button", class: "chip term", "aria-label": name, title: name }, ...before);
    if (text) button.append(h("span", { class: "label" }, text));
    button.append(icon(ICONS.close));
    button.addEventListener("click", remove);
    return button;
  }

  private likeChip(id: number, kind: "like" | "unlike"): HTMLElement {
    const image = h("img", { src: `/api/pictures/${id}/thumbnail`, alt: "", class: "small-picture" });
    const without = (now: Query): Query => ({ ...now, [kind]: but(now[kind], id) });
    const text = kind === "like" ? "like" : "less like";
    const name = `Remove: ${kind === "like" ? "more" : "less"} like picture ${id}`;
    return this.chip("", name, () => this.events.change(without), h("span", { class: "label" }, text), image);
  }

  private pictureChip(picture: Dropped): HTMLElement {
    const image = picture.preview
      ? h("img", { src: picture.preview, alt: "", class: "small-picture" })
      : icon(ICONS.picture);
    const slider = h("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 5,
      value: Math.round(100 * picture.weight),
      "aria-label": "Weight of the picture against the words",
    });
    const amount = h("output", {}, `${Math.round(100 * picture.weight)} %`);
    slider.addEventListener("input", () => {
      amount.textContent = `${slider.value} %`;
      this.events.weigh(Number(slider.value) / 100);
    });
    slider.addEventListener("keydown", (event) => event.stopPropagation());
    const remove = h("button", { type: "button", class: "plain", "aria-label": "Remove the picture" }, icon(ICONS.close));
    remove.addEventListener("click", () => this.events.change((now) => ({ ...now, picture: null })));
    const name = h("span", { class: "label" }, picture.name);
    return h("span", { class: "chip picture-chip" }, image, name, slider, amount, remove);
  }
}

const but = <T>(list: T[], gone: T): T[] => list.filter((other) => other !== gone);

/** Take a minus word that is still in the box out of it. */
function cut(text: string, word: string): string {
  for (const written of [`-"${word}"`, `-${word}`]) {
    const at = ` ${text} `.indexOf(` ${written} `);
    if (at >= 0) return `${text.slice(0, Math.max(0, at - 1))}${text.slice(at + written.length)}`.trim();
  }
  return text;
}
