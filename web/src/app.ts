// The page: what is asked, what came back, and who is told.

import { type Answer, Gone, Problem, cancelled, unlock } from "./api";
import { Chips } from "./chips";
import { Connection } from "./connection";
import { h } from "./dom";
import { FilterForm } from "./filter_form";
import { Grid } from "./grid";
import { Head } from "./head";
import { Lens } from "./lens";
import { LibraryWatch } from "./library";
import { ending, firstUse, problem, remarks, spoken, timing, token, welcome } from "./notices";
import { Panel, placeOf } from "./panel";
import { listenForPictures, prepare } from "./picture";
import { EMPTY, type Query, filter, fromAddress, isEmpty, search, sentence, settle, toAddress, writeAddress } from "./query";
import { group, guess } from "./words";

const PAUSE = 200; // ms after the last key
const GREY = 150; // ms until grey places show that something is coming
const PAGE = 80; // hits a request
const AHEAD = 60; // hits below the window that are asked for before one comes to them
const PHONE = matchMedia("(max-width: 719px)");

export class App {
  private query: Query = EMPTY;
  private answer: Answer | null = null;
  private asked: string | null = null; // the sentence of the answer shown
  private view: "" | "empty" | "results" | "token" = "";
  private running: AbortController | null = null;
  private owed = false; // a search that met no server
  private paging = false;
  private fetched = 0; // hits asked for so far
  private resume: number | null = null; // where a page met no server
  private inView: [number, number] = [0, 0];
  private delay = 0;
  private explaining = 0;

  private connection = new Connection(() => this.returned());
  private library = new LibraryWatch(
    () => this.view === "empty" && this.empty(),
    (error) => this.failed(error),
  );
  private lens = new Lens(() => this);
  private form = new FilterForm((clauses) => this.change({ ...this.query, where: [...this.query.where, ...clauses] }));
  readonly chips = new Chips({
    point: (word) => this.lens.point(word),
    pin: (word) => this.lens.pin(word),
    change: (changed) => this.change(changed(this.query)),
    weigh: (weight) => this.weigh(weight),
    filter: (anchor) => this.form.toggle(anchor),
  });
  private head: Head;
  readonly grid = new Grid({
    open: (index) => this.open(index),
    seen: (first, last) => this.seen(first, last),
    leave: () => this.head.input.focus(),
    missing: () => void this.connection.check(),
  });
  readonly panel = new Panel({
    close: () => this.close(),
    walk: (step) => this.walk(step),
    more: (id, less) => this.more(id, less),
    point: (word) => this.lens.point(word),
    pin: (word) => this.lens.pin(word),
    gone: () => this.connection.lost(),
  });
  private notices = h("div", { class: "notices" });
  private status = h("p", { class: "status" });
  private told = h("p", { class: "hidden", role: "status" });
  private main = h("main", {}, this.notices, this.grid.element);
  private veil = h("div", { class: "drop-veil", hidden: true }, h("p", {}, "Drop it: pictures that look like it are searched for"));

  constructor() {
    const { line, text } = this.library.indexing;
    this.head = new Head(
      {
        type: (typed) => this.type(typed),
        enter: () => this.enter(),
        down: () => this.grid.focus(this.grid.atKeyboard),
        file: (file) => void this.take(file),
      },
      this.chips.element,
      this.form.element,
      line,
    );
    const footer = h("footer", { class: "foot" }, this.status, text);
    const columns = h("div", { class: "columns" }, h("div", { class: "left" }, this.main, footer), this.panel.element);
    document.body.append(this.head.element, columns, this.connection.banner, this.veil, this.told);
    listenForPictures(this.veil, (file) => void this.take(file));
    addEventListener("popstate", () => this.restore());
    addEventListener("keydown", (event) => this.key(event));
    PHONE.addEventListener("change", () => this.cover());
  }

  async start(): Promise<void> {
    if (!PHONE.matches) this.head.input.focus(); // at once: nobody's first letters are lost
    await this.library.read();
    if (this.query === EMPTY && this.view !== "token") this.restore();
  }

  // ---- what is asked

  private restore(): void {
    const { query, open } = fromAddress(location.search);
    const same = this.answer !== null && toAddress(query, null) === toAddress(this.query, null);
    this.query = query;
    this.showQuery();
    if (same) return this.reopen(open);
    void this.run().then(() => this.reopen(open));
  }

  private reopen(open: number | null): void {
    if (open === null) return void (this.panel.isOpen && this.close(false));
    const index = this.grid.indexOf(open);
    if (index >= 0) return this.open(index, false);
    this.panel.open(open, null, "");
    this.cover();
  }

  private type(text: string): void {
    this.query = settle({ ...this.query, text }, false);
    this.head.write(this.query.text);
    this.showQuery();
    clearTimeout(this.delay);
    this.delay = window.setTimeout(() => {
      writeAddress(this.query, this.panel.id, "replace");
      void this.run();
    }, PAUSE);
  }

  private enter(): void {
    clearTimeout(this.delay);
    this.change(settle(this.query, true));
  }

  private change(query: Query): void {
    clearTimeout(this.delay);
    this.query = query;
    this.showQuery();
    writeAddress(this.query, this.panel.id, "push");
    void this.run();
  }

  private weigh(weight: number): void {
    if (!this.query.picture) return;
    this.query = { ...this.query, picture: { ...this.query.picture, weight } };
    clearTimeout(this.delay);
    this.delay = window.setTimeout(() => {
      writeAddress(this.query, this.panel.id, "replace");
      void this.run();
    }, PAUSE);
  }

  private async take(file: File): Promise<void> {
    const picture = await prepare(file);
    if (picture) return this.change({ ...this.query, picture });
    const text = `${file.name || "What you dropped"} is no picture.`;
    this.say(problem(new Problem(415, text, "", "JPEG, PNG, WebP, GIF and HEIC can be searched with"), ""));
  }

  private more(id: number, less: boolean): void {
    const [to, from] = less ? (["unlike", "like"] as const) : (["like", "unlike"] as const);
    const without = this.query[from].filter((other) => other !== id);
    const joined = [...this.query[to].filter((other) => other !== id), id];
    if (PHONE.matches) this.close(false);
    this.change({ ...this.query, [from]: without, [to]: joined });
  }

  private showQuery(): void {
    const text = sentence(this.query);
    this.head.write(this.query.text);
    if (this.answer === null || text !== this.asked) this.lens.showWords(guess(text));
    this.chips.showTerms(this.query);
    document.title = text ? `${text} · crossgraph` : "crossgraph";
  }

  // ---- what comes back

  private async run(): Promise<void> {
    this.running?.abort();
    const mine = (this.running = new AbortController());
    if (isEmpty(this.query)) return this.empty();
    document.body.setAttribute("aria-busy", "true");
    const grey = setTimeout(() => this.late(), GREY);
    try {
      const text = sentence(this.query);
      const answer = await search(this.query, PAGE, 0, mine.signal);
      if (this.running === mine) this.show(text, answer);
    } catch (error) {
      this.owed = error instanceof Gone;
      this.failed(error);
    } finally {
      clearTimeout(grey);
      if (this.running === mine) {
        this.grid.skeleton(0);
        this.main.classList.remove("late");
        document.body.removeAttribute("aria-busy");
      }
    }
  }

  private show(text: string, answer: Answer): void {
    this.answer = answer;
    this.asked = text;
    this.view = "results";
    this.owed = false;
    this.fetched = PAGE;
    this.lens.explanations.reset(text);
    if (text === sentence(this.query)) this.lens.showWords(group(text, answer.tokens));
    this.notices.replaceChildren(...remarks(answer));
    this.grid.element.hidden = false;
    const open = this.panel.id;
    this.grid.replace(answer.hits, answer.total);
    this.grid.conclude(ending(answer, this.grid.length, PAGE));
    this.grid.skeleton(0);
    scrollTo(0, 0);
    if (open !== null) this.stay(open);
    this.status.textContent = timing(answer);
    this.told.textContent = spoken(answer);
    this.lens.glow();
  }

  /** Keep the panel on its picture where the new hits have it, else on nothing but itself. */
  private stay(id: number): void {
    const index = this.grid.indexOf(id);
    if (index >= 0) return this.open(index, false);
    this.panel.open(id, null, "");
    this.panel.explain(null);
    this.lens.explanations.want([id]);
  }

  private empty(): void {
    this.answer = null;
    this.asked = null;
    this.view = "empty";
    document.body.removeAttribute("aria-busy");
    this.lens.showWords([]);
    this.lens.explanations.reset("");
    this.grid.replace([], 0);
    this.grid.element.hidden = true;
    this.status.textContent = "";
    if (!this.library.state) return;
    const { pictures, indexing } = this.library;
    const narrowed = this.query.minus.length + this.query.where.length + this.query.unlike.length > 0;
    this.notices.replaceChildren(pictures ? welcome(pictures, narrowed) : firstUse(indexing.running));
  }

  private late(): void {
    this.main.classList.add("late");
    if (this.grid.length) return;
    this.grid.element.hidden = false;
    this.notices.replaceChildren();
    this.grid.skeleton(6);
  }

  private seen(first: number, last: number): void {
    this.inView = [first, last];
    if (!this.answer || !this.asked) return void this.page(last);
    const ids: number[] = [];
    if (this.panel.id !== null) ids.push(this.panel.id);
    for (let index = first; index < last; index++) ids.push(this.grid.hit(index)!.id);
    clearTimeout(this.explaining);
    this.explaining = window.setTimeout(() => this.lens.explanations.want(ids), this.lens.isPointed ? 0 : 120);
    this.page(last);
  }

  /** Ask for further hits before one comes to the end. */
  private page(last: number): void {
    const { answer, running } = this;
    if (!answer || !running || this.paging || last + AHEAD < this.grid.length || this.fetched >= answer.total) return;
    void this.fetchPage(answer, running);
  }

  private async fetchPage(answer: Answer, running: AbortController): Promise<void> {
    this.paging = true;
    const grey = setTimeout(() => this.grid.skeleton(2), GREY);
    const offset = this.fetched;
    this.fetched = Infinity; // not again and again where it fails
    let more: Answer | null = null;
    try {
      more = await search(this.query, PAGE, offset, running.signal);
    } catch (error) {
      if (error instanceof Gone && this.answer === answer) this.resume = offset;
      this.failed(error);
    } finally {
      clearTimeout(grey);
      this.paging = false;
      this.grid.skeleton(0);
    }
    if (!more || this.answer !== answer || this.running !== running) return;
    this.fetched = more.hits.length ? offset + PAGE : Infinity;
    answer.total = more.total;
    this.grid.append(more.hits, more.total);
    this.grid.conclude(ending(answer, this.grid.length, this.fetched));
  }

  private failed(error: unknown): void {
    if (cancelled(error)) return;
    if (error instanceof Gone) return this.connection.lost();
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return this.askForToken();
    this.say(problem(error, filter(this.query)));
  }

  private say(notice: HTMLElement): void {
    if (this.view === "empty") this.notices.replaceChildren();
    for (const old of this.notices.querySelectorAll(".problem")) old.remove();
    this.notices.prepend(notice);
    scrollTo(0, 0);
  }

  private askForToken(): void {
    this.view = "token";
    this.grid.element.hidden = true;
    if (this.notices.querySelector(".token")) return; // asked already: what is typed there stays
    this.notices.replaceChildren(
      token(async (given) => {
        const accepted = await unlock(given).catch((error: unknown) => void this.failed(error));
        if (accepted) {
          [this.view, this.answer, this.query] = ["", null, EMPTY]; // the address has the query
          await this.start();
        }
        return accepted ?? true; // nobody answered: the banner says so
      }),
    );
    this.notices.querySelector("input")?.focus();
  }

  /** The server is there again. */
  private returned(): void {
    void this.library.read().then((answered) => {
      if (!answered) return;
      this.grid.retry();
      this.panel.retry();
      this.lens.explanations.reset(this.asked ?? "");
      if (this.resume !== null) this.fetched = this.resume;
      this.resume = null;
      if (isEmpty(this.query)) this.empty();
      else if (this.owed || !this.answer) void this.run();
      else this.seen(...this.inView);
    });
  }

  // ---- the panel

  private open(index: number, remember = true): void {
    const hit = this.grid.hit(index);
    if (!hit) return;
    const was = this.panel.isOpen;
    this.panel.open(hit.id, hit, placeOf(index, this.answer?.total ?? this.grid.length));
    this.grid.select(index);
    if (this.asked) this.lens.explanations.want([hit.id]);
    this.cover();
    if (remember) writeAddress(this.query, this.panel.id, was ? "replace" : "push");
    if (index + AHEAD >= this.grid.length) this.page(index);
    this.lens.glow();
  }

  private close(remember = true): void {
    const index = this.grid.indexOf(this.panel.id ?? -1);
    this.panel.close();
    this.grid.select(null);
    this.cover();
    if (remember) writeAddress(this.query, this.panel.id, "push");
    this.grid.focus(index >= 0 ? index : this.grid.atKeyboard);
  }

  private walk(step: 1 | -1): void {
    const index = this.grid.indexOf(this.panel.id ?? -1) + step;
    if (index < 0 || index >= this.grid.length) return;
    this.open(index);
    if (!PHONE.matches) this.grid.reveal(index);
  }

  /** On a phone the panel covers everything else, which then cannot be reached. */
  private cover(): void {
    const covered = PHONE.matches && this.panel.isOpen;
    for (const part of [this.head.element, this.main.parentElement!]) part.toggleAttribute("inert", covered);
    document.documentElement.classList.toggle("covered", covered);
    document.documentElement.classList.toggle("panel-open", this.panel.isOpen);
    if (covered && !this.panel.element.contains(document.activeElement))
      this.panel.element.querySelector<HTMLElement>("[aria-label=Close]")?.focus();
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const typing = event.target instanceof HTMLInputElement;
    if (event.key === "/" && !typing) this.head.input.focus();
    else if (event.key === "Escape" && this.lens.letGo()) return event.preventDefault();
    else if (event.key === "Escape" && this.panel.isOpen) this.close();
    else if (event.key === "Escape" && this.grid.holdsFocus) this.head.input.focus();
    else if (event.key === "ArrowRight" && this.panel.isOpen && !typing) this.walk(1);
    else if (event.key === "ArrowLeft" && this.panel.isOpen && !typing) this.walk(-1);
    else return;
    event.preventDefault();
  }
}
