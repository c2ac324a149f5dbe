// Looks at a host through a login on it: what it is, and where the binary can go. Changes nothing there.
import { isMeshError, MeshError } from "../errors.ts";
import { type HostAnswers, type HostFacts, hostFacts } from "./host-facts.ts";
import { answersIn, remoteScript, wordsOf } from "./remote-script.ts";
import script from "./scripts/probe.sh" with { type: "text" };
import type { CommandResult, Shell } from "./shell.ts";

const PROBE_LIMIT_MS = 20_000;
const PROBE_VERSION = "1";

export interface ProbeOptions {
  signal?: AbortSignal;
}

/**
 * Tells what a host is. One command there. Throws UNREACHABLE when no command can be run by this login, or mesh does
 * not run on such a system; what the shell throws goes through.
 */
export async function probe(shell: Shell, options: ProbeOptions = {}): Promise<HostFacts> {
  return hostFacts(await askHost(shell, options), shell.label);
}

/** What the host says of itself. Throws UNREACHABLE when no command can be run by this login, and what the shell throws. */
export async function askHost(shell: Shell, { signal }: ProbeOptions = {}): Promise<HostAnswers> {
  const { command, text, mark } = remoteScript(script);
  const askedMs = Date.now();
  const result = await run(shell, command, text, signal);
  const answers = answersIn(result.stdout, mark);
  const isWhole = answers[0]?.join(" ") === `probe ${PROBE_VERSION}` && answers.at(-1)?.[0] === "end";
  if (!isWhole) throw noShell(shell.label, command, result);
  return { answers, askedMs, answeredMs: Date.now() };
}

async function run(shell: Shell, command: string, input: Uint8Array, signal?: AbortSignal): Promise<CommandResult> {
  try {
    return await shell.run(command, { input, timeoutMs: PROBE_LIMIT_MS, ...(signal && { signal }) });
  } catch (error) {
    // Its own words say where it hung; those of the connection say everything already.
    if (!isMeshError(error, "TIMEOUT")) throw error;
    const advice = `does \`ssh HOST true\` come back? A file system that hangs, or a ~/.bashrc that waits, stops it too`;
    const message = `${shell.label}: the login works, but \`${command}\` there did not end within ${PROBE_LIMIT_MS / 1000} s: ${advice}`;
    throw new MeshError("TIMEOUT", message, { cause: error });
  }
}

function noShell(label: string, command: string, { status, signal, stdout, stderr }: CommandResult): MeshError {
  const how = status === undefined ? `was ended${signal ? ` by ${signal}` : ""}` : `ended with status ${status}`;
  const printed = wordsOf(`${stderr} ${new TextDecoder().decode(stdout)}`);
  const words = printed ? `and printed: ${printed}` : "and printed nothing";
  const advice =
    status === 127
      ? "there is no `sh` in the PATH of commands run over this login: put it there"
      : "give that user a shell (as root there: `chsh -s /bin/sh USER`), take a forced command off its key, or log in as somebody else";
  const message = `${label}: the login works, but no command can be run: \`${command}\` ${how} ${words}; ${advice}`;
  return new MeshError("UNREACHABLE", message);
}
