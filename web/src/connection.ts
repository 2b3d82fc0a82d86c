// Whether the server answers. While it does not, the page keeps what it shows and tries again.

import { Gone, get } from "./api";
import { h } from "./dom";

const FIRST = 1000; // ms until the first new try; each wait is half as long again
const LONGEST = 8000;

export class Connection {
  readonly banner = h("div", { class: "banner", role: "alert", hidden: true });
  private text = h("span");
  private down = false;
  private wait = FIRST;
  private timer = 0;

  constructor(private readonly back: () => void) {
    const now = h("button", { type: "button", class: "plain" }, "Try now");
    now.addEventListener("click", () => void this.attempt());
    this.banner.append(this.text, now);
  }

  /** Say that a request met nobody. */
  lost(): void {
    if (this.down) return;
    this.down = true;
    this.wait = FIRST;
    this.banner.hidden = false;
    document.body.classList.add("gone");
    this.again();
  }

  /** Find out whether the server is there, since something did not come. */
  async check(): Promise<void> {
    if (this.down) return;
    await get("/health").catch((error: unknown) => error instanceof Gone && this.lost());
  }

  private again(): void {
    const left = Math.round(this.wait / 1000);
    this.text.textContent = `The server does not answer. Is crossgraph serve still running? Trying again ${left > 1 ? `in ${left} s` : "now"}.`;
    this.timer = window.setTimeout(() => void this.attempt(), this.wait);
    this.wait = Math.min(LONGEST, this.wait * 1.5);
  }

  private async attempt(): Promise<void> {
    clearTimeout(this.timer);
    try {
      await get("/health");
    } catch (error) {
      if (error instanceof Gone) return this.again();
      // an answer that is an error is an answer all the same: the server is there
    }
    this.down = false;
    this.banner.hidden = true;
    document.body.classList.remove("gone");
    this.back();
  }
}
