// Light, dark, or as the system has it; the button walks through the three.

import { h } from "./dom";

type Theme = "system" | "light" | "dark";
const NEXT: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };
const SIGN: Record<Theme, string> = { system: "◐", light: "○", dark: "●" };
const STORED = "crossgraph-theme";

/** The button that changes the theme. */
export function themeButton(): HTMLButtonElement {
  const button = h("button", { type: "button", class: "theme plain" });
  let theme = (document.documentElement.dataset.theme ?? "system") as Theme;
  const show = (): void => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = SIGN[theme];
    const name = `Theme: ${theme === "system" ? "as the system" : theme}. Change to ${NEXT[theme]}`;
    button.setAttribute("aria-label", name);
    button.title = name;
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(STORED, theme);
    } catch {
      // not stored: it holds for this visit
    }
    show();
  });
  show();
  return button;
}
