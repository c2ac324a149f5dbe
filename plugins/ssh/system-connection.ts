// A connection by the system's ssh, for hosts whose settings need what ssh2 lacks. Nobody can be asked through it.
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { runCommand } from "../../core/bootstrap/run-command.ts";
import type { CommandResult, Conversation, RunOptions } from "../../core/bootstrap/shell.ts";
import { spawnConversation } from "../../core/bootstrap/spawned.ts";
import { MeshError } from "../../core/errors.ts";
import type { Destination } from "./destination.ts";
import { foreignWords } from "./foreign-words.ts";
import type { RefusedLogin } from "./refusal.ts";
import type { SshSettings } from "./settings.ts";
import type { Forwarding, SshConnection, SshOptions } from "./ssh-connection.ts";
import { SystemMaster } from "./system-master.ts";

export interface SystemOptions extends SshOptions {
  destination: Destination;
  label: string;
  settings: SshSettings;
  /** What it is needed for, in words. */
  needs: string[];
  /** A login by ssh2 that failed before. */
  refused?: RefusedLogin;
}

/** Throws DroppedLogin, AUTHENTICATION, UNREACHABLE, CONFIG (there is no ssh), CANCELLED. */
export async function connectBySystem(options: SystemOptions): Promise<SshConnection> {
  const master = new SystemMaster(options);
  await master.ready();
  return new SystemConnection(master, options.label);
}

const SSH_FAILED = 255;
const REQUEST_TIMEOUT_MS = 15_000;

class SystemConnection implements SshConnection {
  readonly means = "ssh";
  readonly label: string;
  readonly closed: Promise<MeshError | undefined>;
  readonly #master: SystemMaster;
  #isEnded = false;
  #sockets = 0;

  constructor(master: SystemMaster, label: string) {
    this.#master = master;
    this.label = label;
    this.closed = master.ended.then(() => (this.#isEnded ? undefined : this.#lost()));
  }

  async run(command: string, options?: RunOptions): Promise<CommandResult> {
    const result = await runCommand(this, command, options);
    // ssh ends with 255 when the connection breaks, as a command may by itself.
    return result.status === SSH_FAILED && !this.#master.isAlive ? { ...result, status: undefined } : result;
  }

  async open(command: string, options: { signal?: AbortSignal } = {}): Promise<Conversation> {
    if (options.signal?.aborted) throw new MeshError("CANCELLED", `a command on ${this.label} was given up`);
    if (!this.#master.isAlive) throw this.#lost();
    // The second "--" keeps ssh from reading options out of the command.
    return spawnConversation([this.#master.ssh, ...this.#shared(), "-T", "--", "host", command]);
  }

  async forwardInUnix(path: string, onConnection: (stream: Duplex) => void): Promise<Forwarding> {
    const { close } = await this.#forwardIn(path, onConnection);
    return { port: 0, [Symbol.asyncDispose]: close };
  }

  async forwardIn(port: number, onConnection: (stream: Duplex) => void): Promise<Forwarding> {
    const { said, close } = await this.#forwardIn(`127.0.0.1:${port}`, onConnection);
    // ssh prints the port that the host chose; it is cancelled by the words that asked for it.
    return { port: port || Number(said), [Symbol.asyncDispose]: close };
  }

  async forwardOut(address: { host: string; port: number } | { path: string }): Promise<Duplex> {
    const local = this.#newSocketPath();
    const remote = "path" in address ? address.path : `${bracketed(address.host)}:${address.port}`;
    await this.#request("forward", "-L", `${local}:${remote}`);
    try {
      return await new Promise((resolve, reject) => {
        const socket = connect(local, () => resolve(socket));
        socket.once("error", (cause) => {
          reject(new MeshError("UNREACHABLE", `${remote} cannot be reached from ${this.label}`, { cause }));
        });
      });
    } finally {
      await this.#request("cancel", "-L", `${local}:${remote}`).catch(() => {});
      rmSync(local, { force: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true;
    await this.#master.end();
  }

  async #forwardIn(
    place: string,
    onConnection: (stream: Duplex) => void,
  ): Promise<{ said: string; close: () => Promise<void> }> {
    const local = this.#newSocketPath();
    const server = createServer(onConnection);
    await listen(server, local);
    void this.closed.then(() => server.close());
    try {
      const said = await this.#request("forward", "-R", `${place}:${local}`);
      const close = async () => {
        await this.#request("cancel", "-R", `${place}:${local}`).catch(() => {});
        server.close();
        rmSync(local, { force: true });
      };
      return { said, close };
    } catch (error) {
      server.close();
      throw error;
    }
  }

  /** Options of an ssh that goes through the connection, and would rather fail than make one of its own. */
  #shared(): string[] {
    const { socket } = this.#master;
    return [
      "-F",
      "none",
      "-S",
      socket.replaceAll("%", "%%"),
      "-o",
      "ControlMaster=no",
      "-o",
      "BatchMode=yes",
      "-o",
      "ProxyCommand=exit 255",
    ];
  }

  #request(what: "forward" | "cancel", option: "-L" | "-R", words: string): Promise<string> {
    if (!this.#master.isAlive) return Promise.reject(this.#lost());
    const args = [...this.#shared(), "-O", what, option, words, "--", "host"];
    return new Promise((resolve, reject) => {
      execFile(this.#master.ssh, args, { timeout: REQUEST_TIMEOUT_MS }, (cause, stdout, stderr) => {
        if (!cause) return resolve(stdout);
        const why = foreignWords(stderr.trim().split("\n").at(-1) || cause.message);
        const hint = "AllowTcpForwarding and AllowStreamLocalForwarding of its sshd_config allow it";
        reject(
          new MeshError("UNREACHABLE", `sshd of ${this.label} refused to forward ${words}: ${why}; ${hint}`, { cause }),
        );
      });
    });
  }

  #newSocketPath(): string {
    return join(this.#master.folder, `f${++this.#sockets}`);
  }

  #lost(): MeshError {
    const why = this.#master.lastWords || "ssh ended";
    return new MeshError(
      "LINK_CLOSED",
      `the SSH connection to ${this.label} ${this.#isEnded ? "was ended" : `broke: ${why}`}`,
    );
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
