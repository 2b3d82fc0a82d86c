// The sticky line: name, box, theme; below it the chips.

import { ICONS, h, icon } from "./dom";
import { themeButton } from "./theme";

export interface HeadEvents {
  type(text: string): void;
  enter(): void;
  down(): void;
  file(file: File): void;
}

export class Head {
  readonly element = h("header", { class: "head" });
  readonly input = h("input", {
    type: "text",
    name: "q",
    class: "query",
    "aria-label": "Search pictures",
    placeholder: "two dogs playing in snow",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    enterkeyhint: "search",
    maxlength: 2000,
  });

  constructor(events: HeadEvents, chips: HTMLElement, form: HTMLElement, progress: HTMLElement) {
    const file = h("input", { type: "file", accept: "image/*,.heic,.heif", hidden: true, tabindex: -1, "aria-hidden": "true" });
    const choose = h("button", { type: "button", class: "plain choose", "aria-label": "drop or paste a picture, or choose a file" });
    choose.append(icon(ICONS.picture), h("span", { class: "wide-only" }, "drop or paste a picture"));
    choose.addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      const chosen = file.files?.[0];
      if (chosen) events.file(chosen);
      file.value = "";
    });
    this.input.addEventListener("input", () => events.type(this.input.value));
    this.input.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      event.stopPropagation();
      if (event.key === "ArrowDown") events.down();
      else if (event.key === "Escape" && this.input.value) {
        this.input.value = "";
        events.type("");
      } else return;
      event.preventDefault();
    });
    const box = h("form", { class: "box", role: "search", "aria-label": "Pictures" }, icon(ICONS.find), this.input, choose, file);
    box.addEventListener("submit", (event) => {
      event.preventDefault();
      events.enter();
    });
    const name = h("a", { class: "brand", href: "/" }, "crossgraph");
    this.element.append(h("div", { class: "line" }, name, box, themeButton()), chips, form, progress);
    new ResizeObserver(() => {
      document.documentElement.style.setProperty("--head", `${this.element.offsetHeight}px`);
    }).observe(this.element);
  }

  /** Put a text in the box without moving the caret where nothing changed. */
  write(text: string): void {
    if (this.input.value !== text) this.input.value = text;
  }
}
