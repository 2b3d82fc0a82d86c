// What the page says when there are no pictures to show, or not the right ones.

import { type Answer, type Problem } from "./api";
import { count, h, plural } from "./dom";

type Part = HTMLElement | null;

/** The library is empty: the one command that fills it. */
export function firstUse(indexing: boolean): HTMLElement {
  const card = h("section", { class: "card" }, h("h1", {}, "No pictures yet"));
  if (indexing) {
    card.append(h("p", {}, "They are being indexed now. You can search as soon as the first are in."));
    return card;
  }
  card.append(h("p", {}, "One command fills the library. Your pictures stay where they are."));
  card.append(command("crossgraph index ~/Pictures"));
  card.append(h("p", { class: "muted" }, "This page notices by itself when pictures are there."));
  return card;
}

function command(text: string): HTMLElement {
  const copy = h("button", { type: "button" }, "copy");
  copy.addEventListener("click", () => {
    void navigator.clipboard?.writeText(text).then(() => {
      copy.textContent = "copied";
      setTimeout(() => (copy.textContent = "copy"), 1500);
    });
  });
  return h("p", { class: "command" }, h("code", {}, text), copy);
}

/** Nothing was asked yet, or nothing that pictures could be ranked by. */
export function welcome(pictures: number, narrowed: boolean): HTMLElement {
  const keys: [string, string][] = [
    ["/", "the box"],
    ["↓", "the pictures"],
    ["← → ↑ ↓", "walk"],
    ["Enter", "open"],
    ["Esc", "close"],
  ];
  const list = h("p", { class: "keys muted" });
  for (const [key, meaning] of keys) list.append(h("span", {}, h("kbd", {}, key), ` ${meaning}`));
  return h(
    "section",
    { class: "card" },
    h("h1", {}, plural(pictures, "picture")),
    narrowed ? h("p", {}, h("strong", {}, "A minus or a filter alone finds nothing.")) : "",
    h("p", {}, "Say what is in the one you look for, or drop a picture that looks like it."),
    h("p", { class: "muted" }, "Put a minus before what you don't want: ", h("code", {}, "a beach -people")),
    list,
  );
}

/** The server wants a token. */
export function token(enter: (token: string) => Promise<boolean>): HTMLElement {
  const input = h("input", { type: "password", autocomplete: "off", required: true, "aria-label": "Token" });
  const wrong = h("p", { class: "problem", role: "alert", hidden: true }, "That is not the token.");
  const form = h("form", { class: "command" }, input, h("button", { type: "submit" }, "Open"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void enter(input.value.trim()).then((accepted) => (wrong.hidden = accepted));
  });
  return h(
    "section",
    { class: "card token" },
    h("h1", {}, "This library asks for a token"),
    h("p", {}, "crossgraph serve printed it when it started. This browser keeps it for 30 days."),
    form,
    wrong,
  );
}

/** The server could not do what was asked, in its own words; of a filter, the character is shown. */
export function problem(error: Problem, filter: string): HTMLElement {
  const line = h("div", { class: "notice problem", role: "alert" }, h("strong", {}, sentence(error.detail || error.title)));
  if (error.at) {
    const { position, length } = error.at;
    const [before, at] = [filter.slice(0, position), filter.slice(position, position + length)];
    const rest = filter.slice(position + length);
    line.append(h("code", { class: "detail" }, before, h("mark", {}, at || " "), rest));
  }
  if (error.remedy) line.append(h("span", {}, sentence(error.remedy)));
  return line;
}

/** Begin large and end with a full stop. */
const sentence = (text: string): string =>
  text && text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…:]$/.test(text) ? "" : ".");

/** How much was searched, and where the time went. */
export function timing({ pictures, timings }: Answer): string {
  const ms = (value: number): string => count(Math.max(value, value > 0 ? 1 : 0));
  const stages = `nearest ${ms(timings.nearest)}, re-rank ${ms(timings.rerank)}`;
  return `${plural(pictures, "picture")} · ${ms(timings.total)} ms (${stages})`;
}

/** Once the last picture is there, where those behind it are; "" before, and where there are none. */
export const ending = ({ cut, total, pictures }: Answer, shown: number, fetched: number): string =>
  cut && shown && fetched >= total
    ? `The nearest ${count(shown)} of ${plural(pictures, "picture")} end here. Say more, or add a filter, to see others.`
    : "";

/** The same for those who listen. */
export function spoken({ hits, total }: Answer): string {
  const good = hits.filter((hit) => (hit.probability ?? 0) >= 0.5).length;
  const more = total > hits.length && good === hits.length ? " or more" : "";
  return `${count(total)} found${good ? `, ${plural(good, "good match").replace("matchs", "matches")}${more}` : ""}`;
}

/** Remarks above the pictures: unknown words, no good match, whatever else the server says. */
export function remarks(answer: Answer): HTMLElement[] {
  const { message } = answer;
  if (!answer.hits.length && message) {
    const remedy = answer.unknown.length ? "Say it in other words." : "Take a filter or a minus away, or say it in other words.";
    return [h("p", { class: "notice" }, h("strong", {}, message), ` ${remedy}`)];
  }
  const made: Part[] = [unknown(answer), noMatch(answer)];
  if (message && !answer.unknown.length) made.push(h("p", { class: "notice" }, message));
  return made.filter((part) => part !== null);
}

function unknown({ unknown: words, hits }: Answer): Part {
  if (!words.length) return null;
  const named = words.map((word) => `“${word}”`).join(", ");
  const rest = hits.length ? "The rest was searched for." : "Say it in other words.";
  return h("p", { class: "notice" }, `The model does not know ${named}. ${rest}`);
}

function noMatch({ any_good, hits, pictures, unknown: words }: Answer): Part {
  if ((any_good && hits.length) || (words.length && !hits.length)) return null;
  const line = h("p", { class: "notice" });
  if (hits.length) {
    line.append(h("strong", {}, "No good match"), ` among ${plural(pictures, "picture")}. These are the nearest.`);
  } else {
    line.append(h("strong", {}, "No picture"), " fits. Take a filter or a minus away, or say it in other words.");
  }
  return line;
}
