// The server's answers, and how they are asked for. Everything goes to the page's own address.

export interface Hit {
  id: number;
  path: string;
  name: string;
  score: number;
  probability: number | null;
  copies: number;
  width: number;
  height: number;
  date: string | null;
  thumbnail: string;
}

export interface Token {
  text: string;
  start: number;
  end: number;
  known: boolean;
  content: boolean;
  special: boolean;
}

export interface Timings {
  encode: number;
  nearest: number;
  rerank: number;
  total: number;
}

export interface Answer {
  hits: Hit[];
  tokens: Token[];
  unknown: string[];
  any_good: boolean;
  total: number;
  cut?: boolean | undefined; // more pictures than a search goes through
  pictures: number;
  timings: Timings;
  picture?: string | null; // what an uploaded picture is called from now on
  message?: string | null;
}

/** Why one picture matched: `weights` is words × regions, rows sum to 1. */
export interface Explained {
  id: number;
  score: number;
  probability: number | null;
  significance: number[];
  global: number;
  grids: [start: number, rows: number, columns: number][];
  boxes: [number, number, number, number][] | null;
  weights: number[][];
}

export interface Explanation {
  tokens: Token[];
  pictures: Explained[];
}

export interface Details {
  id: number;
  name?: string;
  path?: string;
  paths?: string[];
  date?: string | null;
  camera?: string | null;
  width?: number;
  height?: number;
  latitude?: number | null;
  longitude?: number | null;
  captions?: string[];
}

export interface Progress {
  id: string;
  state: "running" | "done" | "failed" | "stopped";
  what?: string;
  done: number;
  total: number;
  rate: number;
  left: number | null;
  problem?: string | null;
}

export interface LibraryState {
  pictures: number;
  model?: string | null;
  calibrated?: boolean;
  indexing?: Progress | null; // the job that runs
}

/** The server's own words on what went wrong and what to do (a problem document). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly remedy: string,
    readonly at: { position: number; length: number } | null = null, // in the filter
  ) {
    super(detail || title);
  }
}

/** Nobody answers at the page's address. */
export class Gone extends Error {}

const LONGEST = 30_000; // ms until a silent server counts as gone
const AWAY = new Set([502, 503, 504]);

/** Ask; throws `Problem`, `Gone`, or an AbortError when the caller cancelled. */
export async function ask(url: string, init: RequestInit = {}): Promise<Response> {
  const patience = AbortSignal.timeout(LONGEST);
  const signal = init.signal ? AbortSignal.any([init.signal, patience]) : patience;
  for (let attempt = 0; ; attempt++) {
    let response: Response;
    try {
      response = await fetch(url, { ...init, signal, credentials: "same-origin" });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new Gone(String(error));
    }
    if (response.ok) return response;
    const explains = response.headers.get("content-type")?.includes("problem+json") ?? false;
    if (AWAY.has(response.status) && !explains) throw new Gone(response.statusText);
    if (response.status === 429 && attempt < 3) {
      await pause(Math.min(5, Number(response.headers.get("retry-after")) || 1) * 1000, signal);
      continue;
    }
    throw await problemOf(response);
  }
}

async function problemOf(response: Response): Promise<Problem> {
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  let given: Record<string, unknown> = {};
  try {
    given = (await response.json()) as Record<string, unknown>;
  } catch {
    // no problem document: the status has to do
  }
  const title = text(given.title) || `The server answered ${response.status}.`;
  const { position, length } = given;
  const at = typeof position === "number" ? { position, length: typeof length === "number" ? length : 1 } : null;
  return new Problem(response.status, title, text(given.detail), text(given.remedy), at);
}

/** Ask for JSON. */
export async function get<T>(url: string, signal?: AbortSignal): Promise<T> {
  return (await (await ask(url, signal ? { signal } : {})).json()) as T;
}

/** Show a token; the server answers a right one with a cookie, so that pictures load as well. */
export async function unlock(token: string): Promise<boolean> {
  try {
    await ask(`/?${new URLSearchParams({ token })}`);
    await ask("/api/library");
    return true;
  } catch (error) {
    if (error instanceof Problem) return false;
    throw error;
  }
}

/** Wait, unless cancelled. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}

/** Tell whether a request ended only because the caller wanted something newer. */
export const cancelled = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";
