// What is known of a picture besides its pixels.

import type { Details } from "./api";
import { count, h } from "./dom";

/** Terms and descriptions of a picture; what is not known has no line. */
export function details(data: Partial<Details>): HTMLElement[] {
  const made: HTMLElement[] = [];
  const line = (name: string, ...texts: (string | null | undefined)[]): void => {
    const given = texts.filter((text): text is string => Boolean(text));
    if (given.length) made.push(h("dt", {}, name), ...given.map((text) => h("dd", {}, text)));
  };
  line("taken", data.date ? date(data.date) : null);
  line("camera", data.camera);
  if (data.width && data.height) {
    const megapixels = (data.width * data.height) / 1e6;
    line("size", `${count(data.width)} × ${count(data.height)} px${megapixels >= 0.1 ? `, ${megapixels.toFixed(1)} MP` : ""}`);
  }
  if (typeof data.latitude === "number" && typeof data.longitude === "number")
    line("place", `${data.latitude.toFixed(4)}°, ${data.longitude.toFixed(4)}°`);
  line("captions", ...(data.captions ?? []));
  line("file", ...(data.paths?.length ? data.paths : [data.path ?? data.name]));
  return made;
}

function date(text: string): string {
  const read = new Date(text);
  if (Number.isNaN(read.getTime())) return text;
  const time = text.length > 10 ? ({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const) : {};
  return read.toLocaleString("en-GB", { day: "numeric", month: "long", year: "numeric", ...time });
}
