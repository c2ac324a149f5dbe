// A command under way on a channel of ssh2.
import type { ClientChannel } from "ssh2";
import type { CommandEnd, Conversation } from "../../core/bootstrap/shell.ts";
import { MeshError } from "../../core/errors.ts";

const STDERR_LIMIT = 64 * 1024;
const NO_MORE: IteratorReturnResult<undefined> = { done: true, value: undefined };

export class ChannelConversation implements Conversation {
  readonly ended: Promise<CommandEnd>;
  readonly #channel: ClientChannel;
  readonly #label: string;
  readonly #waiting = new Set<() => void>();
  #stderr = Buffer.alloc(0);
  #isOver = false;
  #isKilled = false;
  #stopReading = () => {};
  readonly #end: (end: CommandEnd) => void;

  constructor(channel: ClientChannel, label: string) {
    this.#channel = channel;
    this.#label = label;
    const { promise, resolve } = Promise.withResolvers<CommandEnd>();
    this.ended = promise;
    this.#end = resolve;
    channel.on("exit", (status: number | null, signal?: string) => this.#exit(status, signal));
    channel.on("close", () => this.#over());
    channel.stderr.on("data", (chunk: Buffer) => {
      this.#stderr = Buffer.concat([this.#stderr, chunk]).subarray(-STDERR_LIMIT);
    });
  }

  get stdout(): AsyncIterable<Uint8Array> {
    const chunks = this.#channel.iterator({ destroyOnReturn: false });
    const next = (): Promise<IteratorResult<Uint8Array>> => {
      if (this.#isKilled) return Promise.resolve(NO_MORE);
      return new Promise((resolve, reject) => {
        this.#stopReading = () => resolve(NO_MORE);
        chunks.next().then(resolve, reject);
      });
    };
    return { [Symbol.asyncIterator]: () => ({ next, return: async () => NO_MORE }) };
  }

  get stderr(): string {
    return this.#stderr.toString();
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#isOver) return Promise.reject(this.#gone());
    return new Promise((resolve, reject) => {
      // ssh2 forgets the callback of a write that waits for room when the channel closes.
      const giveUp = () => reject(this.#gone());
      this.#waiting.add(giveUp);
      this.#channel.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), (error) => {
        this.#waiting.delete(giveUp);
        if (error) giveUp();
        else resolve();
      });
    });
  }

  end(): void {
    if (!this.#isOver) this.#channel.end();
  }

  /**
   * sshd passes a signal on only for some accounts; without one the command's pipes close, and one that minds neither runs
   * on, with the channel: so nothing here waits for it any more.
   */
  kill(): void {
    sendSignal(this.#channel, "TERM");
    this.#channel.close();
    this.#channel.resume();
    this.#over();
    this.#isKilled = true;
    this.#stopReading();
  }

  /** The connection is over. */
  break(): void {
    this.#over();
  }

  // What a command left running may keep the channel open: its input counts as closed from here on nevertheless.
  #exit(status: number | null, signal: string | undefined): void {
    this.#over(status === null ? { status: undefined, ...(signal && { signal }) } : { status });
  }

  #over(end: CommandEnd = { status: undefined }): void {
    this.#isOver = true;
    this.#end(end);
    for (const giveUp of this.#waiting) giveUp();
    this.#waiting.clear();
  }

  #gone(): MeshError {
    return new MeshError(
      "LINK_CLOSED",
      `the command on ${this.#label} reads no more: it ended, or the connection broke`,
    );
  }
}

/** ClientChannel.signal sends nothing once the command's input is at its end. */
function sendSignal(channel: ClientChannel, name: string): void {
  const inside = channel as unknown as {
    outgoing: { id: number; state: string };
    _client: { _protocol: { signal(channel: number, name: string): void } };
  };
  if (inside.outgoing.state === "open" || inside.outgoing.state === "eof") {
    inside._client._protocol.signal(inside.outgoing.id, name);
  }
}
