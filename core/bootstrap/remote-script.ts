// Runs a POSIX sh script on a host through any login shell, and finds its answers among whatever else is printed there: a
// greeting of .bashrc, a message of the day. Each line of an answer starts with a mark that nobody else knows.
import { randomBytes } from "node:crypto";

export interface RemoteScript {
  /** Simple enough for sh, csh and fish. */
  command: string;
  /** Its input; what follows it is the input of the script itself, when `hasInput`. */
  text: Uint8Array;
  mark: string;
}

/**
 * Prepares `script`, with shell variables set before it. Without `hasInput` nothing but sh is needed there. With it, sh must
 * not read ahead of the script's end, as dash and busybox do: dd reads exactly that much.
 */
export function remoteScript(
  script: string,
  variables: Record<string, string> = {},
  { hasInput = false }: { hasInput?: boolean } = {},
): RemoteScript {
  const mark = `mesh-${randomBytes(9).toString("hex")}`;
  const settings = Object.entries({ ...variables, N: mark }).map(([name, value]) => `${name}=${quoted(value)}\n`);
  const text = Buffer.from(settings.join("") + script);
  const command = hasInput ? `exec sh -c 'eval "$(dd bs=1 count=${text.length} 2>/dev/null)"'` : "exec sh -s";
  return { command, text, mark };
}

/** A word of sh, whatever is in it. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The lines of an answer, without their mark: each a first word and the rest. */
export function answersIn(output: Uint8Array, mark: string): [word: string, rest: string][] {
  return new TextDecoder()
    .decode(output)
    .split("\n")
    .filter((line) => line.startsWith(`${mark} `))
    .map((line) => {
      const [word = "", ...rest] = line.slice(mark.length + 1).split(" ");
      return [word, rest.join(" ").trim()];
    });
}

/** For people: what a command printed, in one line of bearable length. */
export function wordsOf(text: string): string {
  const words = text.trim().replaceAll(/\s+/g, " ");
  return words.length > 400 ? `${words.slice(0, 400)}…` : words;
}
