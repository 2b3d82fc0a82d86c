// Words of the sentence as chips: one for each run of tokens that touch each other.

import type { Token } from "./api";

export interface Word {
  text: string;
  start: number;
  rows: number[]; // of the weights; empty until the server has answered
  known: boolean;
  content: boolean;
}

/** Words by themselves, before the server has named its tokens. */
export function guess(sentence: string): Word[] {
  return [...sentence.matchAll(/[\p{L}\p{N}]+(?:['’][\p{L}\p{N}]+)*/gu)].map((found) => ({
    text: found[0],
    start: found.index,
    rows: [],
    known: true,
    content: true,
  }));
}

/** Words of the server's tokens. Word pieces join; specials and punctuation show no chip. */
export function group(sentence: string, tokens: Token[]): Word[] {
  const words: (Word & { end: number })[] = [];
  tokens.forEach((token, row) => {
    const text = sentence.slice(token.start, token.end) || token.text;
    if (token.special || !/[\p{L}\p{N}]/u.test(text)) return;
    const last = words.at(-1);
    if (last && token.start <= last.end && last.end > last.start) {
      last.rows.push(row);
      last.end = Math.max(last.end, token.end);
      last.text = sentence.slice(last.start, last.end);
      last.known &&= token.known;
      last.content ||= token.content;
    } else {
      words.push({ text, start: token.start, end: token.end, rows: [row], known: token.known, content: token.content });
    }
  });
  return words;
}
