// A connection in this process, by ssh2, once it is logged in.
import type { Duplex } from "node:stream";
import type { Client, ClientChannel } from "ssh2";
import { runCommand } from "../../core/bootstrap/run-command.ts";
import type { CommandResult, Conversation, RunOptions } from "../../core/bootstrap/shell.ts";
import { MeshError } from "../../core/errors.ts";
import { ChannelConversation } from "./channel-conversation.ts";
import { foreignWords } from "./foreign-words.ts";
import type { Forwarding, LoginAccount, SshConnection } from "./ssh-connection.ts";

export class Ssh2Connection implements SshConnection {
  readonly means = "ssh2";
  readonly label: string;
  readonly account: LoginAccount;
  readonly closed: Promise<MeshError | undefined>;
  readonly #client: Client;
  readonly #forwardings = new Map<string, (stream: Duplex) => void>();
  readonly #conversations = new Set<ChannelConversation>();
  readonly #asking = new Set<(reason: MeshError) => void>();
  #isEnded = false;
  #isClosed = false;

  /** `client` has just become ready. */
  constructor(client: Client, label: string, account: LoginAccount) {
    this.#client = client;
    this.label = label;
    this.account = account;
    this.closed = this.#untilClosed();
    client.on("tcp connection", (details, accept, reject) => this.#incoming(`tcp ${details.destPort}`, accept, reject));
    client.on("unix connection", (details, accept, reject) => {
      this.#incoming(`unix ${details.socketPath}`, accept, reject);
    });
  }

  run(command: string, options?: RunOptions): Promise<CommandResult> {
    return runCommand(this, command, options);
  }

  async open(command: string, options: { signal?: AbortSignal } = {}): Promise<Conversation> {
    const what = `a command on ${this.label}`;
    // Made within the answer: the end of a short command may stand right behind it, and is told once.
    const exec = (done: Done<ChannelConversation>) =>
      this.#client.exec(command, (error, channel) => done(error, error ? undefined : this.#conversation(channel)));
    return await this.#ask(what, exec, options.signal);
  }

  async forwardInUnix(path: string, onConnection: (stream: Duplex) => void): Promise<Forwarding> {
    const what = `a socket at ${path} of ${this.label} (AllowStreamLocalForwarding of its sshd_config allows it; the path must not exist yet)`;
    const key = `unix ${path}`;
    this.#forwardings.set(key, onConnection);
    await this.#orForget(key, what, (done) => this.#client.openssh_forwardInStreamLocal(path, done));
    return this.#forwarding(key, 0, (done) => this.#client.openssh_unforwardInStreamLocal(path, done));
  }

  async forwardIn(port: number, onConnection: (stream: Duplex) => void): Promise<Forwarding> {
    const host = "127.0.0.1";
    const what = `port ${port} of ${this.label} (AllowTcpForwarding of its sshd_config allows it)`;
    const listen = (done: Done<number>) =>
      this.#client.forwardIn(host, port, (error, chosen) => {
        if (!error) this.#forwardings.set(`tcp ${chosen || port}`, onConnection);
        done(error, chosen || port);
      });
    const bound = await this.#ask(what, listen);
    return this.#forwarding(`tcp ${bound}`, bound, (done) => this.#client.unforwardIn(host, bound, done));
  }

  forwardOut(address: { host: string; port: number } | { path: string }): Promise<Duplex> {
    if ("path" in address) {
      const what = `the socket ${address.path} from ${this.label}`;
      return this.#ask(what, (done) => this.#client.openssh_forwardOutStreamLocal(address.path, done));
    }
    const what = `${address.host}:${address.port} from ${this.label}`;
    return this.#ask(what, (done) => this.#client.forwardOut("127.0.0.1", 0, address.host, address.port, done));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isEnded = true;
    this.#client.end();
    // A host that hangs never closes its side.
    const timer = setTimeout(() => this.#client.destroy(), 1_000);
    await this.closed;
    clearTimeout(timer);
  }

  #untilClosed(): Promise<MeshError | undefined> {
    let cause: Error | undefined;
    this.#client.on("error", (error) => {
      cause ??= error;
    });
    return new Promise((resolve) => {
      this.#client.once("close", () => {
        this.#isClosed = true;
        const reason = lost(this.label, this.#isEnded ? undefined : cause, this.#isEnded);
        resolve(this.#isEnded ? undefined : reason);
        for (const conversation of this.#conversations) conversation.break();
        for (const giveUp of this.#asking) giveUp(reason);
        this.#asking.clear();
      });
    });
  }

  #conversation(channel: ClientChannel): ChannelConversation {
    const conversation = new ChannelConversation(channel, this.label);
    this.#conversations.add(conversation);
    void conversation.ended.then(() => this.#conversations.delete(conversation));
    return conversation;
  }

  #incoming(key: string, accept: () => Duplex, reject: () => void): void {
    const onConnection = this.#forwardings.get(key);
    if (onConnection) onConnection(accept());
    else reject();
  }

  async #orForget(key: string, what: string, request: (done: Done<void>) => void): Promise<void> {
    try {
      await this.#ask(what, request);
    } catch (error) {
      this.#forwardings.delete(key);
      throw error;
    }
  }

  #forwarding(key: string, port: number, cancel: (done: () => void) => void): Forwarding {
    return {
      port,
      [Symbol.asyncDispose]: async () => {
        if (!this.#forwardings.delete(key) || this.#isClosed) return;
        await Promise.race([this.closed, new Promise<void>((resolve) => cancel(resolve))]);
      },
    };
  }

  /** One request to sshd: ends with its answer, the connection or `signal`. What comes too late is closed. */
  #ask<T>(what: string, request: (done: Done<T>) => void, signal?: AbortSignal): Promise<T> {
    if (this.#isClosed)
      return this.closed.then((reason) => Promise.reject(reason ?? lost(this.label, undefined, true)));
    return new Promise((resolve, reject) => {
      const cancel = () => reject(new MeshError("CANCELLED", `${what} was given up`));
      if (signal?.aborted) return cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      this.#asking.add(reject);
      const answer: Done<T> = (error, value) => {
        signal?.removeEventListener("abort", cancel);
        this.#asking.delete(reject);
        if (error) return reject(new MeshError("UNREACHABLE", refusal(this.label, what, error), { cause: error }));
        if (signal?.aborted) return (value as { kill?(): void } | undefined)?.kill?.();
        resolve(value as T);
      };
      try {
        request(answer);
      } catch (error) {
        answer(error as Error);
      }
    });
  }
}

type Done<T> = (error: Error | null | undefined, value?: T) => void;

function refusal(label: string, what: string, error: Error): string {
  const reason = foreignWords(error.message.replace(/^\(SSH\) Channel open failure: /, ""));
  return `sshd of ${label} refused ${what}: ${reason}${hintFor(what, error)}`;
}

const ADMINISTRATIVELY_PROHIBITED = 1; // RFC 4254, section 5.1

function hintFor(what: string, error: Error & { reason?: unknown }): string {
  if (what.startsWith("a command") && error.message.includes("open failed")) {
    return "; it may limit sessions (MaxSessions of its sshd_config)";
  }
  const isForbidden = error.reason === ADMINISTRATIVELY_PROHIBITED;
  return isForbidden ? "; AllowTcpForwarding and PermitOpen of its sshd_config allow it" : "";
}

function lost(label: string, cause: Error | undefined, isOwnEnd: boolean): MeshError {
  if (isOwnEnd) return new MeshError("LINK_CLOSED", `the SSH connection to ${label} was ended`);
  const isSilent = cause?.message === "Keepalive timeout";
  const why = isSilent ? "it no longer answers" : foreignWords(cause?.message ?? "the host ended it");
  return new MeshError("LINK_CLOSED", `the SSH connection to ${label} broke: ${why}`, cause ? { cause } : undefined);
}
