// One try to log in on one host, by ssh2: connect, check the host's key, prove who we are. Nothing is sent to a host whose
// key is not the known one, and every phase has a limit.
import type { Duplex } from "node:stream";
import type { Client, ConnectConfig } from "ssh2";
import { MeshError } from "../../core/errors.ts";
import { type DialFailure, dialTcp } from "./dial-tcp.ts";
import { DroppedLogin } from "./dialing.ts";
import { foreignWords } from "./foreign-words.ts";
import { type HostKeys, refuseHostKey, rememberHostKey, type Shown } from "./host-keys.ts";
import { preferredAlgorithms } from "./known-hosts.ts";
import type { Login } from "./login.ts";
import { RefusedLogin } from "./refusal.ts";
import type { SshSettings } from "./settings.ts";
import { Ssh2Connection } from "./ssh2-connection.ts";

type Ssh2 = typeof import("ssh2");

/** Nobody knows the host's key yet; somebody may trust it. */
export class StrangeHostKey extends Error {
  readonly shown: Shown;
  readonly refusal: MeshError;

  constructor(shown: Shown, refusal: MeshError) {
    super(refusal.message);
    this.shown = shown;
    this.refusal = refusal;
  }
}

export interface AttemptOptions {
  /** For people: "alice@10.0.0.5". */
  label: string;
  /** A command line of ssh that reaches it. */
  command: string;
  settings: SshSettings;
  hostKeys: HostKeys;
  /** A key that somebody has just trusted. */
  trusted: Buffer | undefined;
  acceptNewKeys: boolean;
  login: Login;
  /** Makes the way there; default: a TCP connection. */
  through?: () => Promise<Duplex>;
  /** Up to the check of the host's key. */
  connectTimeoutMs: number;
  keepAlive: { intervalMs: number; count: number };
  signal?: AbortSignal;
}

// ssh2 leaves these two lists to us: what OpenSSH has on by default, the fastest first. Bun has no ChaCha20 for ssh2.
const CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"];
const HOST_KEYS = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "rsa-sha2-512",
  "rsa-sha2-256",
];
/** sshd's own limit is 120 s (LoginGraceTime). While somebody is asked, it does not run. */
const LOGIN_TIMEOUT_MS = 60_000;

/**
 * Throws DroppedLogin, StrangeHostKey, RefusedLogin, and MeshErrors: UNREACHABLE, AUTHENTICATION (host key), CANCELLED.
 */
export async function attemptLogin(ssh2: Ssh2, options: AttemptOptions): Promise<Ssh2Connection> {
  const attempt = new Attempt(ssh2, options);
  return await attempt.result;
}

type Phase = "connect" | "handshake" | "login" | "done";

class Attempt {
  readonly result: Promise<Ssh2Connection>;
  readonly #options: AttemptOptions;
  readonly #client: Client;
  #stream: Duplex | undefined;
  #phase: Phase = "connect";
  #timer: NodeJS.Timeout | undefined;
  #reject: (error: Error) => void;
  #hostKey: Buffer | undefined;
  /** Why the host's key was not good enough. */
  #keyFault: Error | undefined;

  constructor(ssh2: Ssh2, options: AttemptOptions) {
    this.#options = options;
    const { promise, resolve, reject } = Promise.withResolvers<Ssh2Connection>();
    this.result = promise;
    this.#reject = reject;
    this.#client = new ssh2.Client();
    this.#client.on("error", (error) => this.#onError(error));
    this.#client.on("close", () => this.#onClose());
    this.#client.on("handshake", () => this.#enter("login", LOGIN_TIMEOUT_MS));
    this.#client.on("ready", () => {
      this.#enter("done");
      const account = { hostKey: this.#hostKey!, by: options.login.by };
      resolve(new Ssh2Connection(this.#client, options.label, account));
    });
    options.signal?.addEventListener("abort", this.#cancel, { once: true });
    options.login.watch = {
      pause: () => clearTimeout(this.#timer),
      resume: () => this.#phase === "login" && this.#enter("login", LOGIN_TIMEOUT_MS),
    };
    void this.#start();
  }

  readonly #cancel = (): void => {
    this.#fail(new MeshError("CANCELLED", `the login on ${this.#options.label} was given up`));
  };

  async #start(): Promise<void> {
    const { signal, connectTimeoutMs, through } = this.#options;
    if (signal?.aborted) return this.#cancel();
    this.#timer = setTimeout(() => this.#late(), connectTimeoutMs);
    try {
      const stream = through ? await through() : await this.#dial();
      this.#stream = stream;
      // It came too late: everybody has gone.
      if (this.#phase === "done") return void stream.destroy();
      this.#phase = "handshake";
      this.#client.connect(this.#config(stream));
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  async #dial(): Promise<Duplex> {
    const { socket, made } = dialTcp(this.#options.settings);
    this.#stream = socket;
    try {
      return await made;
    } catch (error) {
      throw this.#unreachable((error as DialFailure).message, error as DialFailure);
    }
  }

  #config(sock: Duplex): ConnectConfig {
    const { settings, hostKeys, login, keepAlive } = this.#options;
    return {
      sock: sock as never,
      username: settings.user,
      hostVerifier: (key: Buffer, verify: (isGood: boolean) => void) => this.#checkKey(key, verify),
      authHandler: login.handler as never,
      algorithms: {
        serverHostKey: preferredAlgorithms(hostKeys.known, HOST_KEYS) as never,
        cipher: CIPHERS as never,
        compress: ["none"],
      },
      keepaliveInterval: keepAlive.intervalMs,
      keepaliveCountMax: keepAlive.count,
      readyTimeout: 0,
    };
  }

  /**
   * Is asked again whenever keys are exchanged anew. A good key has to be called so at once then: while ssh2 waits for the
   * answer and the host is ready, it sends data that belongs behind the exchange, and the connection breaks.
   */
  #checkKey(key: Buffer, verify: (isGood: boolean) => void): void {
    const { label, command, settings, hostKeys: keys, trusted, acceptNewKeys } = this.#options;
    this.#hostKey = key;
    const shown: Shown = { label, command, settings, keys, key };
    const refusal = trusted?.equals(key) ? undefined : refuseHostKey(shown);
    const isStrange = refusal?.verdict.kind === "unknown";
    if (isStrange && (acceptNewKeys || settings.keyPolicy === "accept-new")) {
      void this.#remember(key).then(verify);
      return;
    }
    this.#keyFault = isStrange ? new StrangeHostKey(shown, refusal.error) : refusal?.error;
    verify(!refusal);
  }

  async #remember(key: Buffer): Promise<boolean> {
    this.#options.trusted = key;
    try {
      await rememberHostKey(this.#options.settings, key);
      return true;
    } catch (error) {
      this.#keyFault = error as Error;
      return false;
    }
  }

  #enter(phase: Phase, limitMs?: number): void {
    clearTimeout(this.#timer);
    this.#phase = phase;
    if (limitMs !== undefined) this.#timer = setTimeout(() => this.#late(), limitMs);
    if (phase === "done") this.#options.signal?.removeEventListener("abort", this.#cancel);
  }

  #late(): void {
    const seconds = this.#options.connectTimeoutMs / 1000;
    const words = {
      connect: `no answer within ${seconds} s; it may be off, its address or port wrong, or a firewall in between`,
      handshake: `it took the connection but said no word of SSH within ${seconds} s; it may hang, or be another service`,
      login: `the login was not over within ${LOGIN_TIMEOUT_MS / 1000} s; the host may hang, or the agent wait for somebody`,
      done: "",
    };
    this.#fail(this.#unreachable(words[this.#phase]));
  }

  #onError(error: Error & { level?: string }): void {
    if (this.#phase === "done") return;
    // One key that cannot sign: ssh2 goes on with the next.
    if (error.level === "agent" || error.message.startsWith("Error signing")) return;
    this.#fail(this.#keyFault ?? (this.#phase === "login" ? this.#failedLogin(error) : this.#failedHandshake(error)));
  }

  #onClose(): void {
    if (this.#phase === "done") return;
    const error = new Error("it hung up");
    this.#fail(
      this.#keyFault ?? (this.#phase === "login" ? this.#failedLogin(error) : new DroppedLogin(error.message)),
    );
  }

  #failedHandshake(error: Error & { code?: unknown }): Error {
    const { label } = this.#options;
    if (error.message.startsWith("Connection lost") || typeof error.code === "string")
      return new DroppedLogin(foreignWords(error.message));
    if (/no matching/.test(error.message)) {
      const what = foreignWords(error.message.replace(/^Handshake failed: /, ""));
      const advice = "let its sshd offer newer ones (KexAlgorithms, HostKeyAlgorithms and Ciphers of sshd_config)";
      return new RefusedLogin(`${label} and mesh share no algorithm: ${what}`, advice, ["other algorithms"], error);
    }
    return this.#unreachable(
      `what answers there speaks no SSH that mesh knows (${foreignWords(error.message)})`,
      error,
    );
  }

  #failedLogin(error: Error & { level?: string; code?: unknown }): Error {
    const { label, login } = this.#options;
    const tried = login.tried.length > 0 ? `; tried ${login.tried.join("; ")}` : "";
    const isDisconnect = typeof error.code === "number";
    if (error.level !== "client-authentication" && !isDisconnect) {
      return this.#unreachable(`it hung up in the middle of the login (${foreignWords(error.message)})${tried}`, error);
    }
    const why = isDisconnect ? ` (${foreignWords(error.message)})` : "";
    return new RefusedLogin(`${label} let nobody in${why}${tried}`, login.advice, login.forSystem, error);
  }

  #unreachable(words: string, cause?: Error): MeshError {
    return new MeshError(
      "UNREACHABLE",
      `${this.#options.label} cannot be reached: ${words}`,
      cause ? { cause } : undefined,
    );
  }

  #fail(error: Error): void {
    if (this.#phase === "done") return;
    this.#enter("done");
    this.#client.destroy();
    this.#stream?.destroy();
    this.#reject(error);
  }
}
