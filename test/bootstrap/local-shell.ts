// A Shell that runs commands on this machine, as sshd would run them for a user with a home of its own: by the login
// shell with "-c".

import type { CommandResult, Conversation, RunOptions, Shell } from "../../core/bootstrap/shell.ts";
import { spawnConversation } from "../../core/bootstrap/spawned.ts";
import { MeshError } from "../../core/errors.ts";

export interface LocalShellOptions {
  home: string;
  /** The login shell and its words before the command. Default: sh -c. */
  login?: string[];
  env?: Record<string, string>;
}

/** A login with its own HOME, and no more of this process's environment than PATH. */
export function localShell({ home, login = ["/bin/sh", "-c"], env = {} }: LocalShellOptions): Shell {
  const open = async (command: string): Promise<Conversation> =>
    spawnConversation([...login, command], { cwd: home, env: { PATH: process.env.PATH, HOME: home, ...env } });
  return {
    label: "user@host1",
    open,
    run: async (command, options = {}) => runIn(await open(command), options),
    [Symbol.asyncDispose]: async () => {},
  };
}

async function runIn(
  conversation: Conversation,
  { input, timeoutMs = 30_000, signal }: RunOptions,
): Promise<CommandResult> {
  const timer = setTimeout(() => conversation.kill(), timeoutMs);
  signal?.addEventListener("abort", () => conversation.kill());
  if (input) await write(conversation, input);
  conversation.end();
  const chunks: Uint8Array[] = [];
  for await (const chunk of conversation.stdout) chunks.push(chunk);
  const end = await conversation.ended;
  clearTimeout(timer);
  if (signal?.aborted) throw new MeshError("CANCELLED", "the command was cancelled");
  return { ...end, stdout: Buffer.concat(chunks), stderr: conversation.stderr };
}

/** A command that does not read all of its input has something else to say. */
async function write(conversation: Conversation, input: NonNullable<RunOptions["input"]>): Promise<void> {
  try {
    for await (const chunk of input instanceof Uint8Array ? [input] : input) await conversation.write(chunk);
  } catch {
    // it has ended
  }
}
