// Text that a host chose, before it is shown on somebody's terminal.

const LIMIT_CHARS = 300;

/** On one line, without what a terminal would obey, and of bearable length. */
export function foreignWords(text: string): string {
  const plain = text
    .trim()
    .replace(/\s+/g, " ")
    .replace(/[\p{Cc}\p{Cf}]/gu, "\ufffd");
  return plain.length > LIMIT_CHARS ? `${plain.slice(0, LIMIT_CHARS)}…` : plain;
}
