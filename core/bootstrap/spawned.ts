// A process of this machine as a conversation: for the local provider, and for whatever connects by a program.
import { MeshError } from "../errors.ts";
import type { CommandEnd, Conversation } from "./shell.ts";

const STDERR_LIMIT_CHARS = 64 * 1024;

export interface SpawnOptions {
  cwd?: string;
  /** Default: that of this process. */
  env?: Record<string, string | undefined>;
}

/** Starts `argv` in a session of its own, so that Ctrl-C does not reach it. Throws UNREACHABLE when it cannot be started. */
export function spawnConversation(argv: string[], { cwd, env = process.env }: SpawnOptions = {}): Conversation {
  try {
    const child = Bun.spawn(argv, {
      ...(cwd !== undefined && { cwd }),
      env,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      lazy: true,
    });
    return new SpawnedConversation(child);
  } catch (cause) {
    throw new MeshError("UNREACHABLE", `cannot start ${argv[0]}: ${(cause as Error).message}`, { cause });
  }
}

class SpawnedConversation implements Conversation {
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly ended: Promise<CommandEnd>;
  stderr = "";

  constructor(child: Bun.Subprocess<"pipe", "pipe", "pipe">) {
    this.#child = child;
    const read = this.#readStderr();
    this.ended = child.exited.then(async () => {
      await Promise.race([read, Bun.sleep(100)]); // a daemon may hold it open
      return endOf(child);
    });
  }

  get stdout(): AsyncIterable<Uint8Array> {
    return this.#child.stdout;
  }

  async write(bytes: Uint8Array): Promise<void> {
    try {
      const { stdin, exited } = this.#child;
      const over = exited.then(() => Promise.reject(new Error("it has ended")));
      await Promise.race([Promise.resolve(stdin.write(bytes)).then(() => stdin.flush()), over]);
    } catch (cause) {
      throw new MeshError("LINK_CLOSED", `the process takes no more input: ${(cause as Error).message}`, { cause });
    }
  }

  end(): void {
    Promise.resolve(this.#child.stdin.end()).catch(() => {}); // it may have ended before
  }

  kill(): void {
    this.end();
    this.#child.kill("SIGTERM");
  }

  async #readStderr(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child.stderr) {
      this.stderr = (this.stderr + decoder.decode(chunk, { stream: true })).slice(-STDERR_LIMIT_CHARS);
    }
  }
}

function endOf(child: Bun.Subprocess<"pipe", "pipe", "pipe">): CommandEnd {
  if (child.signalCode) return { status: undefined, signal: String(child.signalCode) };
  return { status: child.exitCode ?? undefined };
}
