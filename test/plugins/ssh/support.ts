// What the tests of SSH share: somebody who answers, words of errors, an agent.
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMeshError, type MeshErrorCode } from "../../../core/errors.ts";
import type { Person } from "../../../core/provider.ts";
import { connectSsh } from "../../../plugins/ssh/connect.ts";
import type { SshConnection, SshOptions } from "../../../plugins/ssh/ssh-connection.ts";
import { noSshd, type Sshd } from "../../support/sshd.ts";
import { until } from "../../support/until.ts";

export const skipNote = noSshd ? ` (skipped: ${noSshd})` : "";

/** Logs in on the sshd with its own settings, and `lines` of ssh_config that go before them. */
export function connectTo(sshd: Sshd, options: SshOptions & { lines?: string[] } = {}): Promise<SshConnection> {
  const { lines = [], ...rest } = options;
  const configFile = join(sshd.folder, `config-${Math.random()}`);
  writeFileSync(configFile, sshd.configBlock(lines));
  return connectSsh(sshd.name, { configFile, ...rest });
}

/** What it prints. Throws when the command fails. */
export async function output(connection: SshConnection, command: string): Promise<string> {
  const { status, stdout, stderr } = await connection.run(command);
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stderr}`);
  return Buffer.from(stdout).toString();
}

/** The message of the MeshError with `code` that `work` ends with. */
export async function failure(code: MeshErrorCode, work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!isMeshError(error, code)) throw new Error(`no ${code}`, { cause: error });
  return error.message;
}

/** Answers every question alike, and keeps them. */
export class Answers implements Person {
  readonly questions: string[] = [];
  readonly #yes: boolean;
  readonly #secrets: (string | undefined)[];

  constructor(answers: { yes?: boolean; secrets?: (string | undefined)[] } = {}) {
    this.#yes = answers.yes ?? false;
    this.#secrets = answers.secrets ?? [];
  }

  async confirm(question: string): Promise<boolean> {
    this.questions.push(question);
    return this.#yes;
  }

  async secret(question: string): Promise<string | undefined> {
    this.questions.push(question);
    return this.#secrets.shift();
  }
}

/** An ssh-agent with these keys. */
export async function startAgent(folder: string, keys: string[]): Promise<AsyncDisposable & { socket: string }> {
  const socket = join(folder, "agent");
  const agent = spawn("ssh-agent", ["-D", "-a", socket], { stdio: ["ignore", "pipe", "ignore"] });
  const ended = new Promise((resolve) => agent.once("exit", resolve));
  await new Promise((resolve) => agent.stdout.once("data", resolve));
  for (const key of keys) {
    const added = Bun.spawnSync(["ssh-add", "-q", key], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
    if (!added.success) throw new Error(`ssh-add: ${added.stderr}`);
  }
  return {
    socket,
    async [Symbol.asyncDispose]() {
      agent.kill();
      await ended;
    },
  };
}

/** Waits until nothing of its sessions is left on the sshd. */
export async function nobodyLoggedIn(sshd: Sshd): Promise<void> {
  await until(() => sshd.processes().length === 0, { what: "the end of what the sessions ran" });
}

/** Waits until a program of that name runs in one of its sessions. */
export async function runs(sshd: Sshd, name: string): Promise<void> {
  await until(() => sshd.processes().some(({ command }) => command[0] === name), { what: `${name} to run` });
}
