// Filters as chips: how a clause is written for the server and how it reads on the page.

export interface Fields {
  from: string;
  to: string;
  path: string;
  camera: string;
  megapixels: string;
  written: string;
}

const quoted = (text: string): string => `'${text.replace(/\\/g, "\\\\").replace(/'/g, "\\'")}'`;

/** Clauses of the filled-in fields. */
export function clauses(fields: Fields): string[] {
  const made: string[] = [];
  const dates = [fields.from && `date >= ${fields.from}`, fields.to && `date <= ${fields.to}`].filter(Boolean);
  if (dates.length) made.push(dates.join(" and "));
  if (fields.path) made.push(`path ~ ${quoted(fields.path)}`);
  if (fields.camera) made.push(`camera ~ ${quoted(fields.camera)}`);
  if (fields.megapixels) made.push(`megapixels >= ${fields.megapixels}`);
  if (fields.written) made.push(fields.written);
  return made;
}

const plain = (text: string): string => text.replace(/\\(.)/g, "$1");

/** How a clause reads on its chip. */
export function label(clause: string): string {
  const read: [RegExp, (found: RegExpExecArray) => string][] = [
    [/^date >= ([\d-]+) and date <= ([\d-]+)$/, ([, from, to]) => (from === to ? `${from}` : `${from}–${to}`)],
    [/^date >= ([\d-]+)$/, ([, from]) => `since ${from}`],
    [/^date <= ([\d-]+)$/, ([, to]) => `until ${to}`],
    [/^path ~ '((?:[^'\\]|\\.)*)'$/, ([, text]) => `path has “${plain(text ?? "")}”`],
    [/^camera ~ '((?:[^'\\]|\\.)*)'$/, ([, text]) => `camera has “${plain(text ?? "")}”`],
    [/^megapixels >= ([\d.]+)$/, ([, least]) => `${least} megapixels or more`],
  ];
  for (const [pattern, write] of read) {
    const found = pattern.exec(clause);
    if (found) return write(found);
  }
  return clause;
}
