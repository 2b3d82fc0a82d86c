// A thin line while pictures are being indexed, with what is left. Searching goes on meanwhile.

import type { LibraryState, Progress } from "./api";
import { count, h } from "./dom";

export class Indexing {
  readonly line = h("div", { class: "progress", role: "progressbar", "aria-label": "Indexing", hidden: true }, h("span"));
  readonly text = h("span", { class: "indexing" });
  private source: EventSource | null = null;
  private job: string | null = null;

  constructor(private readonly ended: () => void) {}

  /** Follow the job the library names, if it names one. */
  follow(state: LibraryState): void {
    const job = state.indexing?.id;
    if (!job || job === this.job) return;
    this.source?.close();
    this.job = job;
    this.line.hidden = false;
    this.text.textContent = "indexing";
    const source = (this.source = new EventSource(`/api/jobs/${encodeURIComponent(job)}/events`));
    source.addEventListener("message", (event: MessageEvent<string>) => this.show(JSON.parse(event.data) as Progress));
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this.stop();
    });
  }

  get running(): boolean {
    return this.job !== null;
  }

  private show({ done, total, rate, left, state, what }: Progress): void {
    const share = total > 0 ? Math.min(1, done / total) : 0;
    (this.line.firstChild as HTMLElement).style.transform = `scaleX(${share})`;
    this.line.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    const parts = [total > 0 ? `indexing ${count(done)} of ${count(total)}` : `indexing: ${what || "looking for pictures"}`];
    if (rate >= 1) parts.push(`${count(rate)} a second`);
    if (left !== null && left !== undefined) parts.push(`${duration(left)} left`);
    this.text.textContent = parts.join(" · ");
    if (state !== "running") this.stop();
  }

  private stop(): void {
    if (!this.source) return;
    this.source.close();
    this.source = null;
    this.job = null;
    this.line.hidden = true;
    this.text.textContent = "";
    this.ended();
  }
}

/** Write seconds as on the page: 40 s, 12 min, 1 h 5 min. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
