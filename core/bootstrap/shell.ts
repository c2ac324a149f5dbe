// A login on a host, as getting a worker there needs it: commands, with their input and output.

/** How a command ended; `status` is undefined when a signal or a broken connection ended it. */
export interface CommandEnd {
  status: number | undefined;
  signal?: string;
}

export interface CommandResult extends CommandEnd {
  stdout: Uint8Array;
  /** Its last 64 KiB, as text. */
  stderr: string;
}

export interface RunOptions {
  /** Default: none; the command's input is at its end at once. */
  input?: Uint8Array | AsyncIterable<Uint8Array>;
  /** A command that prints more is ended, with PROTOCOL. Default 1 MiB. */
  outputLimitBytes?: number;
  /** The command is ended after it, with TIMEOUT. Default 30 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A command under way. */
export interface Conversation {
  /** Resolves when there is room for more; rejects with LINK_CLOSED when nobody takes it any more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends its input. */
  end(): void;
  readonly stdout: AsyncIterable<Uint8Array>;
  /** What it printed on stderr so far: the last 64 KiB. */
  readonly stderr: string;
  readonly ended: Promise<CommandEnd>;
  /** Ends the command, as far as that is possible from here. */
  kill(): void;
}

/**
 * `command` is handed to the login shell of the user there, which may be any: sh, fish, csh. So let it be simple, such as
 * "exec sh -s", and say the rest as its input.
 */
export interface Shell extends AsyncDisposable {
  /** For people: "alice@10.0.0.5". */
  readonly label: string;
  run(command: string, options?: RunOptions): Promise<CommandResult>;
  open(command: string, options?: { signal?: AbortSignal }): Promise<Conversation>;
}
