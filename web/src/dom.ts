// Elements without a framework. Text always goes in as text: nothing here parses HTML.

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined>;

/** Make an element; `false`, `null` and `undefined` leave an attribute or a child out, `true` sets it empty. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(made, name, value);
  for (const child of children) if (child) made.append(child);
  return made;
}

/** Set or take away one attribute. */
export function set(element: Element, name: string, value: Attributes[string]): void {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** Draw one of the page's few icons (paths in a 20 × 20 box, stroked). */
export function icon(path: string): SVGSVGElement {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 20 20", class: "icon", "aria-hidden": "true" }))
    drawing.setAttribute(name, value);
  const line = document.createElementNS(space, "path");
  line.setAttribute("d", path);
  drawing.append(line);
  return drawing;
}

export const ICONS = {
  find: "M13.5 13.5 18 18M15 8.5a6.5 6.5 0 1 1-13 0a6.5 6.5 0 0 1 13 0z",
  close: "M5 5 15 15M15 5 5 15",
  back: "M12.5 4 6.5 10 12.5 16",
  next: "M7.5 4 13.5 10 7.5 16",
  picture: "M2.5 4h15v12h-15zM2.5 13.5l4.5-4 3.5 3.5 2.5-2 4.5 4M13.5 8a1.2 1.2 0 1 1-2.4 0a1.2 1.2 0 0 1 2.4 0z",
  add: "M10 4v12M4 10h12",
} as const;

/** Write a number as on the page: 1,204. */
export const count = (value: number): string => Math.round(value).toLocaleString("en-US");

/** Write a number of things: 1 picture, 1,204 pictures. */
export const plural = (value: number, one: string): string => `${count(value)} ${one}${Math.round(value) === 1 ? "" : "s"}`;

/** Write a share as on the page: 7.1 %, 42 %. */
export const percent = (share: number): string => `${(100 * share).toFixed(share < 0.0995 && share > 0 ? 1 : 0)} %`;
