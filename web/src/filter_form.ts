// The small form behind "+ filter". What is filled in becomes chips.

import { h } from "./dom";
import { type Fields, clauses } from "./filters";

const DATE = "\\d{4}(-\\d\\d(-\\d\\d)?)?";

export class FilterForm {
  private form = h("form");
  readonly element = h("div", { class: "filter-form", role: "dialog", "aria-label": "Add a filter", hidden: true }, this.form);
  private inputs: Record<keyof Fields, HTMLInputElement>;
  private anchor: HTMLElement | null = null;

  constructor(private readonly add: (clauses: string[]) => void) {
    const input = (attributes: Record<string, string>): HTMLInputElement =>
      h("input", { type: "text", autocomplete: "off", spellcheck: "false", ...attributes });
    const date = { pattern: DATE, title: "A year, a month or a day: 2020, 2020-05, 2020-05-17", size: "10" };
    this.inputs = {
      from: input({ ...date, placeholder: "2020" }),
      to: input({ ...date, placeholder: "2024-06" }),
      path: input({ placeholder: "alps" }),
      camera: input({ placeholder: "Canon" }),
      megapixels: input({ inputmode: "decimal", pattern: "\\d+(\\.\\d+)?", title: "A number", placeholder: "12", size: "5" }),
      written: input({ placeholder: "date >= 2020 and not path ~ 'draft'", class: "wide" }),
    };
    const field = (text: string, key: keyof Fields): HTMLElement => h("label", {}, h("span", {}, text), this.inputs[key]);
    const buttons = h("div", { class: "buttons" });
    const done = h("button", { type: "submit", class: "main" }, "Add");
    const cancel = h("button", { type: "button", class: "plain" }, "Cancel");
    cancel.addEventListener("click", () => this.close());
    buttons.append(done, cancel);
    this.form.append(
      h("div", { class: "pair" }, field("Taken from", "from"), field("to", "to")),
      field("Folder or name contains", "path"),
      h("div", { class: "pair" }, field("Camera contains", "camera"), field("Megapixels, at least", "megapixels")),
      field("Or written out", "written"),
      buttons,
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.element.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") this.close();
    });
    addEventListener("pointerdown", (event) => {
      const target = event.target as Node;
      if (!this.element.hidden && !this.element.contains(target) && !this.anchor?.contains(target)) this.hide();
    });
  }

  /** Open below the button that asked, or close. */
  toggle(anchor: HTMLElement): void {
    this.anchor = anchor;
    if (!this.element.hidden) return this.close();
    this.element.hidden = false;
    anchor.setAttribute("aria-expanded", "true");
    const left = anchor.getBoundingClientRect().left;
    this.element.style.left = `${Math.max(8, Math.min(left, innerWidth - this.element.offsetWidth - 8))}px`;
    this.inputs.from.focus();
  }

  private hide(): void {
    this.element.hidden = true;
    this.anchor?.setAttribute("aria-expanded", "false");
  }

  private close(): void {
    this.hide();
    this.anchor?.focus();
  }

  private submit(): void {
    const fields = Object.fromEntries(
      Object.entries(this.inputs).map(([key, input]) => [key, input.value.trim()]),
    ) as unknown as Fields;
    const made = clauses(fields);
    this.form.reset();
    this.close();
    if (made.length) this.add(made);
  }
}
