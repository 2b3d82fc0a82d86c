// What is asked for: its form in the address bar and its form for the server.

import { type Answer, Problem, ask, get } from "./api";
import type { Dropped } from "./picture";

export interface Query {
  text: string; // as in the box
  minus: string[];
  where: string[]; // clauses of a filter, all of which must hold
  like: number[];
  unlike: number[];
  picture: Dropped | null;
}

export const EMPTY: Query = { text: "", minus: [], where: [], like: [], unlike: [], picture: null };

const MINUS = /(^|\s)-(?:"([^"]*)"?|([^\s"-]\S*))/g;
const dropped = new Map<string, Dropped>(); // pictures of this visit, so that going back finds them
const kept = new Map<string, string>(); // what the server calls them

/** Take `-word` and `-"two words"` out of a text: what is left, and what is not wanted. */
export function split(text: string): { words: string; minus: string[] } {
  const minus: string[] = [];
  const words = text.replace(MINUS, (_, space: string, quoted?: string, word?: string) => {
    const taken = (quoted ?? word ?? "").trim();
    if (taken) minus.push(taken);
    return space;
  });
  return { words: words.replace(/\s+/g, " ").trim(), minus };
}

/** Move every finished `-word` out of the text into the list; with `all` also the one still being typed. */
export function settle(query: Query, all: boolean): Query {
  const typed = all ? "" : (/(?:^|\s)-(?:"[^"]*|[^\s"]*)$/.exec(query.text)?.[0] ?? "");
  const finished = query.text.slice(0, query.text.length - typed.length);
  if (!split(finished).minus.length) return query;
  const { words, minus } = split(finished);
  const text = all ? words : `${words} ${typed.trim()}`.trimStart();
  return { ...query, text, minus: unique([...query.minus, ...minus]) };
}

/** The sentence that the server gets, without what is not wanted. */
export const sentence = (query: Query): string => split(query.text).words;

/** All that is not wanted, also what is still being typed. */
export const unwanted = (query: Query): string[] => unique([...query.minus, ...split(query.text).minus]);

/** Tell whether there is nothing to search for. A filter or a minus alone says nothing to rank by. */
export const isEmpty = (query: Query): boolean => !sentence(query) && !query.picture && !query.like.length;

/** The filter that the server gets. */
export const filter = ({ where }: Query): string =>
  where.map((clause) => (where.length > 1 ? `(${clause})` : clause)).join(" and ");

/** Write a query as the page's address. */
export function toAddress(query: Query, open: number | null): string {
  const address = new URLSearchParams();
  if (query.text.trim()) address.set("q", query.text.trim());
  for (const word of query.minus) address.append("minus", word);
  for (const clause of query.where) address.append("where", clause);
  for (const id of query.like) address.append("like", String(id));
  for (const id of query.unlike) address.append("unlike", String(id));
  if (query.picture) {
    dropped.set(query.picture.key, query.picture);
    address.set("picture", query.picture.key);
  }
  if (open !== null) address.set("open", String(open));
  const text = address.toString();
  return text ? `?${text}` : location.pathname;
}

/** Put a query into the page's address: as a new page to go back from, or in place of this one. */
export function writeAddress(query: Query, open: number | null, how: "push" | "replace"): void {
  const address = toAddress(query, open);
  if (how === "replace" || address === (location.search || location.pathname)) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
}

/** Read the page's address. */
export function fromAddress(search: string): { query: Query; open: number | null } {
  const address = new URLSearchParams(search);
  const ids = (name: string): number[] => address.getAll(name).map(Number).filter((id) => Number.isInteger(id) && id >= 0);
  const open = ids("open")[0];
  const query: Query = {
    text: address.get("q") ?? "",
    minus: unique(address.getAll("minus").filter(Boolean)),
    where: unique(address.getAll("where").filter(Boolean)),
    like: ids("like"),
    unlike: ids("unlike"),
    picture: dropped.get(address.get("picture") ?? "") ?? null,
  };
  return { query, open: open ?? null };
}

/** Ask the server for hits from `offset` on. */
export async function search(query: Query, k: number, offset: number, signal: AbortSignal): Promise<Answer> {
  const fields: [string, string][] = [];
  const words = sentence(query);
  if (words) fields.push(["q", words]);
  for (const word of unwanted(query)) fields.push(["minus", word]);
  if (query.where.length) fields.push(["where", filter(query)]);
  for (const id of query.like) fields.push(["like", String(id)]);
  for (const id of query.unlike) fields.push(["unlike", String(id)]);
  fields.push(["k", String(k)], ["offset", String(offset)]);
  if (!query.picture) return get<Answer>(`/api/search?${new URLSearchParams(fields)}`, signal);
  fields.push(["picture_weight", String(query.picture.weight)]);
  const name = kept.get(query.picture.key);
  if (name) {
    try {
      return await get<Answer>(`/api/search?${new URLSearchParams([...fields, ["picture", name]])}`, signal);
    } catch (error) {
      if (!(error instanceof Problem && error.status === 404)) throw error;
      kept.delete(query.picture.key); // the server has let go of it: it is sent again
    }
  }
  const form = new FormData();
  for (const [field, value] of fields) form.append(field, value);
  form.append("picture", query.picture.sent, query.picture.name);
  const answer = (await (await ask("/api/search", { method: "POST", body: form, signal })).json()) as Answer;
  if (answer.picture) kept.set(query.picture.key, answer.picture);
  return answer;
}

const unique = <T>(values: T[]): T[] => [...new Set(values)];
