// One picture, large: which region met which word, what it is, and pictures like it.

import { type Details, type Explained, Gone, type Hit, Problem, ask, cancelled, get } from "./api";
import { ICONS, count, h, icon, percent, set } from "./dom";
import { significance } from "./explanations";
import { densities, drawHeat, drawRegion, beside, clear, regionAt } from "./heat";
import { details } from "./metadata";
import type { Word } from "./words";

export interface PanelEvents {
  close(): void;
  walk(step: 1 | -1): void;
  more(id: number, less: boolean): void;
  point(word: number | null): void;
  pin(word: number): void;
  gone(): void; // nobody answered
}

export interface Why {
  picture: Explained;
  words: Word[];
  heat(word: Word): Float32Array | null;
}

const TOUCH = matchMedia("(hover: none)").matches;

interface WordRow {
  button: HTMLButtonElement;
  bar: HTMLElement;
  value: HTMLElement;
}

export class Panel {
  readonly element = h("aside", { class: "panel", "aria-label": "The picture", tabindex: -1, hidden: true });
  private place = h("span", { class: "place" });
  private image = h("img", { alt: "" });
  private glow = h("canvas", { class: "glow", width: 1, height: 1 });
  private region = h("canvas", { class: "region", width: 1, height: 1 });
  private stage = h("div", { class: "stage", role: "application", tabindex: 0 }, this.image, this.glow, this.region);
  private problem = h("p", { class: "problem", role: "alert", hidden: true });
  private match = h("p", { class: "match-line" });
  private list = h("ul", { class: "why", role: "list" });
  private note = h("p", { class: "note", "aria-live": "polite" });
  private actions = h("div", { class: "actions" });
  private data = h("dl");
  private whySection = h("section", { "aria-label": "Why" }, h("h2", {}, "why"), this.list, this.note);
  private rows: WordRow[] = [];
  private why: Why | null = null;
  private loading: AbortController | null = null;
  private aspect = 1;
  private copies = 0;
  private pointed: number | null = null;
  private held: number | null = null; // the region a click pinned
  private owed = false; // a picture that met no server
  private focused: number | null = null; // the word at the keyboard while another picture's words are on their way
  private word: number | null = null;
  id: number | null = null;

  constructor(private readonly events: PanelEvents) {
    const button = (name: string, path: string, act: () => void): HTMLButtonElement => {
      const made = h("button", { type: "button", class: "plain square", "aria-label": name, title: name }, icon(path));
      made.addEventListener("click", act);
      return made;
    };
    const like = (less: boolean): HTMLButtonElement => {
      const made = h("button", { type: "button" }, less ? "less like this" : "more like this");
      made.addEventListener("click", () => this.id !== null && this.events.more(this.id, less));
      return made;
    };
    const tools = h("div", { class: "tools" });
    tools.append(
      button("Previous picture", ICONS.back, () => events.walk(-1)),
      button("Next picture", ICONS.next, () => events.walk(1)),
      this.place,
      button("Close", ICONS.close, () => events.close()),
    );
    this.actions.append(like(false), like(true));
    const body = h("div", { class: "body" }, this.problem, this.match, this.whySection, this.actions, this.data);
    this.element.append(tools, this.stage, body);
    this.stage.setAttribute("aria-label", "Regions of the picture. Arrow keys move between them, Enter holds one.");
    this.wire();
  }

  get isOpen(): boolean {
    return !this.element.hidden;
  }

  /** Show a hit: its thumbnail at once, the file when it has come. */
  open(id: number, hit: Hit | null, place: string): void {
    this.element.hidden = false;
    this.place.textContent = place;
    this.copies = hit?.copies ?? 0;
    this.showMatch(hit?.probability ?? null);
    if (id === this.id) return;
    this.keepFocus();
    this.loading?.abort();
    this.loading = new AbortController();
    this.id = id;
    this.why = null;
    this.pointed = this.held = null;
    this.problem.hidden = true;
    this.stage.classList.remove("lost");
    clear(this.region);
    this.glow.classList.remove("on");
    this.shape(hit?.width ?? 4, hit?.height ?? 3);
    this.image.src = hit?.thumbnail ?? `/api/pictures/${id}/thumbnail`;
    this.data.replaceChildren(...(hit ? details({ ...hit }) : []));
    this.actions.hidden = false;
    this.list.replaceChildren();
    this.rows = [];
    this.whySection.hidden = true;
    this.element.scrollTop = 0;
    void this.load(id, this.loading.signal);
  }

  close(): void {
    this.loading?.abort();
    this.element.hidden = true;
    this.id = null;
  }

  /** Ask again for what did not come. */
  retry(): void {
    if (this.owed && this.id !== null && this.loading) void this.load(this.id, this.loading.signal);
  }

  /** Who walks from picture to picture with a word at the keyboard stays at that word. */
  private keepFocus(): void {
    const row = this.rows.findIndex(({ button }) => button === document.activeElement);
    if (row >= 0) this.element.focus({ preventScroll: true });
    if (row >= 0 || document.activeElement !== this.element) this.focused = row >= 0 ? row : null;
  }

  private async load(id: number, signal: AbortSignal): Promise<void> {
    this.owed = false;
    try {
      const data = await get<Details>(`/api/pictures/${id}`, signal);
      if (data.width && data.height) this.shape(data.width, data.height);
      this.data.replaceChildren(...details(data));
      const large = URL.createObjectURL(await (await ask(`/api/pictures/${id}/image`, { signal })).blob());
      const ready = new Image();
      ready.src = large;
      await ready.decode().then(
        () => this.id === id && (this.image.src = large),
        () => undefined, // a kind this browser cannot show: the thumbnail stays
      );
      signal.addEventListener("abort", () => URL.revokeObjectURL(large));
    } catch (error) {
      if (cancelled(error) || this.id !== id) return;
      if (error instanceof Problem) return this.fail(error);
      this.owed = error instanceof Gone;
      if (this.owed) this.events.gone();
    }
  }

  private fail(problem: Problem): void {
    const removed = problem.status === 410 || problem.status === 404;
    const title = removed ? "This picture was moved, changed or removed since it was indexed." : `${problem.message}.`;
    const remedy = removed ? "Index again, and the library finds where it went or forgets it: crossgraph index" : problem.remedy;
    this.problem.replaceChildren(h("strong", {}, title), " ", remedy);
    this.problem.hidden = false;
    this.actions.hidden = problem.status === 404; // the library does not know it: nothing is like it
    this.stage.classList.toggle("lost", removed);
  }

  private shape(width: number, height: number): void {
    this.aspect = width / height || 1;
    this.stage.style.setProperty("--aspect", this.aspect.toFixed(4));
  }

  private showMatch(probability: number | null): void {
    this.match.replaceChildren();
    if (probability !== null) {
      const bar = h("span", { class: probability >= 0.5 ? "match" : "match low" }, h("span"));
      (bar.firstChild as HTMLElement).style.width = `${100 * probability}%`;
      this.match.append(h("span", {}, "match ", h("strong", {}, percent(probability))), bar);
    }
    if (this.copies > 0) this.match.append(h("span", { class: "muted" }, `+${this.copies} nearly the same`));
    this.match.hidden = !this.match.childNodes.length;
  }

  /** Say why it matched, once that is known. */
  explain(why: Why | null): void {
    if (why && this.why?.picture === why.picture && this.why.words === why.words) return;
    this.why = why;
    this.whySection.hidden = !why?.words.length;
    if (!why) return;
    this.rows = why.words.map((word, index) => this.row(word, index));
    this.list.replaceChildren(...this.rows.map(({ button }) => h("li", {}, button)));
    if (this.focused !== null && document.activeElement === this.element) this.rows[this.focused]?.button.focus();
    this.focused = null;
    if (why.picture.probability !== null) this.showMatch(why.picture.probability);
    this.rest();
    this.light(this.word, null);
  }

  private row(word: Word, index: number): WordRow {
    const bar = h("span", { class: "fill" });
    const value = h("span", { class: "value" });
    const name = h("span", { class: "name" }, word.text);
    const button = h("button", { type: "button", class: "why-word" }, name, h("span", { class: "track" }, bar), value);
    button.classList.toggle("unknown", !word.known);
    button.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && this.events.point(index));
    button.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.events.point(null));
    button.addEventListener("focus", () => button.matches(":focus-visible") && this.events.point(index));
    button.addEventListener("blur", () => this.events.point(null));
    button.addEventListener("click", () => this.events.pin(index));
    return { button, bar, value };
  }

  /** Let the regions of one word glow. */
  light(word: number | null, pinned: number | null): void {
    this.word = word;
    this.rows.forEach(({ button }, index) => {
      button.classList.toggle("active", index === word);
      set(button, "aria-pressed", index === pinned ? "true" : "false");
    });
    const chosen = word === null ? undefined : this.why?.words[word];
    const heat = chosen && this.why ? this.why.heat(chosen) : null;
    if (heat && this.why) drawHeat(this.glow, this.why.picture, heat, this.aspect);
    this.glow.classList.toggle("on", heat !== null);
  }

  private wire(): void {
    const at = (event: PointerEvent | MouseEvent): number | null => {
      const box = this.stage.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width;
      return this.why ? regionAt(this.why.picture, x, (event.clientY - box.top) / box.height) : null;
    };
    this.stage.addEventListener("pointermove", (event) => event.pointerType === "mouse" && this.meet(at(event)));
    this.stage.addEventListener("pointerleave", () => this.meet(this.held));
    this.stage.addEventListener("blur", () => this.meet(this.held));
    this.stage.addEventListener("click", (event) => this.hold(at(event)));
    this.stage.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
      if (step && this.why) {
        const from = this.pointed ?? regionAt(this.why.picture, 0.5, 0.5) ?? 0;
        this.meet(this.pointed === null ? from : beside(this.why.picture, from, step[0]!, step[1]!));
      } else if (event.key === "Enter" || event.key === " ") this.hold(this.pointed);
      else if (event.key === "Escape" && this.held !== null) this.hold(this.held);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  private hold(region: number | null): void {
    this.held = region === this.held ? null : region;
    this.stage.classList.toggle("held", this.held !== null);
    this.meet(this.held ?? region);
  }

  /** Light up the words that met a region. */
  private meet(region: number | null): void {
    this.pointed = region;
    if (region === null || !this.why) {
      clear(this.region);
      return this.rest();
    }
    const { picture, words } = this.why;
    drawRegion(this.region, picture, region, this.aspect);
    const met = words.map((word) => {
      const weight = word.rows.reduce((sum, row) => sum + (picture.weights[row]?.[region] ?? 0), 0) / (word.rows.length || 1);
      return { weight, density: densities(picture, word)[region] ?? 0 };
    });
    const most = Math.max(4, ...met.map(({ density }) => density));
    this.rows.forEach(({ button, bar, value }, index) => {
      const { weight, density } = met[index]!;
      bar.style.width = `${100 * Math.min(1, density / most)}%`;
      value.textContent = percent(weight);
      button.classList.toggle("met", density > 1.5);
    });
    this.list.classList.add("meeting");
    const best = met.reduce((top, { density }, index) => (density > (met[top]?.density ?? 0) ? index : top), 0);
    this.note.textContent =
      (met[best]?.density ?? 0) > 1.5
        ? `Of each word's weight, what this region got. Most: “${words[best]!.text}”, ${met[best]!.density.toFixed(1)} times an even share.`
        : "No word gave this region more than about an even share.";
  }

  private rest(): void {
    if (!this.why) return;
    const { picture, words } = this.why;
    const shares = words.map((word) => significance(picture, word));
    const most = Math.max(...shares, 0.001);
    this.rows.forEach(({ button, bar, value }, index) => {
      bar.style.width = words[index]!.known ? `${(100 * shares[index]!) / most}%` : "0";
      value.textContent = words[index]!.known ? percent(shares[index]!) : "unknown";
      button.classList.remove("met");
    });
    this.list.classList.remove("meeting");
    const whole = picture.global > 0.005 ? ` The picture as a whole has ${percent(picture.global)}.` : "";
    this.note.textContent = `Each word's share of the score.${whole} ${TOUCH ? "Touch" : "Point at"} the picture to see which words met a region.`;
  }
}

/** Where a hit stands: 3 of 1,204. */
export const placeOf = (index: number, total: number): string => (index < 0 ? "" : `${count(index + 1)} of ${count(total)}`);
