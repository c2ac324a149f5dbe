// One connection of the system's ssh, which other processes of ssh share through its control socket; ended with us.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { MeshError } from "../../core/errors.ts";
import { makeRunFolder, removeRunFolder } from "../../core/worker/run-folder.ts";
import { DroppedLogin } from "./dialing.ts";
import { foreignWords } from "./foreign-words.ts";
import { commandLine, configArgs, destinationArgs, findSsh } from "./read-settings.ts";
import { explainFailure, isDrop } from "./ssh-failures.ts";
import type { SystemOptions } from "./system-connection.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** Beyond the connect timeout of ssh itself. */
const LOGIN_TIMEOUT_MS = 60_000;
const END_TIMEOUT_MS = 3_000;
const STDERR_LIMIT = 16 * 1024;
const READY = "mesh-ready";

// Ends ssh when our end of its input closes, so also when we are killed. It becomes no other process: while it waits, the
// number of ssh is not used again.
const GUARD = `exec 3<&0
"$@" </dev/null 3<&- & ssh=$!
{ cat <&3; kill $ssh; } >/dev/null 2>&1 & watch=$!
exec 3<&-
wait $ssh; status=$?
kill $watch
exit $status`;

export class SystemMaster {
  readonly folder: string;
  readonly socket: string;
  readonly ssh: string;
  /** Resolves when ssh has ended. */
  readonly ended: Promise<void>;
  readonly #options: SystemOptions;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #stderr = "";
  #hasEnded = false;

  constructor(options: SystemOptions) {
    const ssh = findSsh();
    if (!ssh) {
      const needs = options.needs.join(", ");
      throw new MeshError(
        "CONFIG",
        `${options.label} needs ${needs}, which takes the system's ssh; install it (openssh-client)`,
      );
    }
    this.#options = options;
    this.ssh = ssh;
    this.folder = makeRunFolder();
    this.socket = join(this.folder, "ssh");
    const stdio = ["pipe", "pipe", "pipe"] as const;
    // In a session of its own: Ctrl-C is for us to heed.
    this.#child = spawn("/bin/sh", ["-c", GUARD, "mesh", ssh, ...this.#args()], { stdio: [...stdio], detached: true });
    this.#child.stdin.on("error", () => {});
    this.#child.stderr.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk).slice(-STDERR_LIMIT);
    });
    this.ended = new Promise((resolve) => {
      const end = () => {
        this.#hasEnded = true;
        this.#child.stdin.destroy();
        removeRunFolder(this.folder);
        resolve();
      };
      this.#child.once("exit", end);
      this.#child.once("error", end);
    });
  }

  get isAlive(): boolean {
    return !this.#hasEnded;
  }

  /** What ssh said last, in one line. */
  get lastWords(): string {
    return foreignWords(this.#stderr.trim().split("\n").at(-1) ?? "");
  }

  /** Resolves when it is logged in. Throws DroppedLogin, AUTHENTICATION, UNREACHABLE, CANCELLED. */
  async ready(): Promise<void> {
    const { label, signal } = this.#options;
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    const cancel = () => reject(new MeshError("CANCELLED", `the login on ${label} was given up`));
    const limitMs = this.#connectTimeoutMs + LOGIN_TIMEOUT_MS;
    const words = `${label} cannot be reached: ssh was not logged in within ${limitMs / 1000} s`;
    const timer = setTimeout(() => reject(new MeshError("UNREACHABLE", words)), limitMs);
    signal?.addEventListener("abort", cancel, { once: true });
    if (signal?.aborted) cancel();
    try {
      await Promise.race([this.#saysReady(), stopped]);
    } catch (error) {
      await this.end();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Ends ssh; resolves when it is gone. */
  async end(): Promise<void> {
    this.#child.stdin.destroy();
    const timer = setTimeout(() => process.kill(-this.#child.pid!, "SIGKILL"), END_TIMEOUT_MS);
    await this.ended;
    clearTimeout(timer);
  }

  get #connectTimeoutMs(): number {
    return this.#options.connectTimeoutMs ?? this.#options.settings.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  }

  async #saysReady(): Promise<void> {
    for await (const chunk of this.#child.stdout.iterator({ destroyOnReturn: false })) {
      if (String(chunk).includes(READY)) return;
    }
    await this.ended;
    if (isDrop(this.#stderr)) throw new DroppedLogin(this.lastWords);
    const { label, destination, configFile, needs, refused } = this.#options;
    const failure = explainFailure({
      label,
      command: commandLine(destination, configFile),
      needs,
      stderr: this.#stderr,
    });
    throw refused
      ? new MeshError(failure.code, `${refused.message}; and ${failure.message}`, { cause: refused })
      : failure;
  }

  #args(): string[] {
    const { destination, settings, acceptNewKeys, configFile } = this.#options;
    const keepAlive = settings.keepAlive ?? { intervalMs: 15_000, count: 3 };
    const isTrusting = acceptNewKeys || settings.keyPolicy === "accept-new";
    const options = {
      BatchMode: "yes",
      ControlMaster: "yes",
      ControlPath: this.socket.replaceAll("%", "%%"),
      ControlPersist: "no",
      // Runs when the login is done and the socket is there.
      PermitLocalCommand: "yes",
      LocalCommand: `echo ${READY}`,
      ConnectTimeout: Math.ceil(this.#connectTimeoutMs / 1000),
      ServerAliveInterval: Math.ceil(keepAlive.intervalMs / 1000),
      ServerAliveCountMax: keepAlive.count,
      StrictHostKeyChecking: isTrusting ? "accept-new" : "yes",
      ClearAllForwardings: "yes",
      RemoteCommand: "none",
      LogLevel: "INFO",
    };
    const settingsArgs = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
    return [...configArgs(configFile), "-N", "-T", "-a", "-x", ...settingsArgs, ...destinationArgs(destination)];
  }
}
