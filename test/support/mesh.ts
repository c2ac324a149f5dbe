// Runs the real binary for a test: in a folder of its own, with an end in every case, and nothing left behind.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { until } from "./until.ts";

export const root = dirname(dirname(import.meta.dirname));
export const binary = join(root, "dist/mesh");

/** Texts, bytes or symbolic links (`{ link }`) by path relative to the folder. */
export type Files = Record<string, string | Uint8Array | { link: string }>;

/** Part of what is read of a process: "comm" of proc_pid_stat(5), and who started it. */
export interface ProcessInfo {
  pid: number;
  parentPid: number;
  command: string[];
}

const MARK = "MESH_TEST_MARK";

/**
 * The living processes that inherited the marker in their environment, whoever their parent is now. A process that is
 * about to become another program shows none for a moment: ask until it stays so.
 */
export function processesOf(marker: string): ProcessInfo[] {
  const found: ProcessInfo[] = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (!readFileSync(`/proc/${name}/environ`, "latin1").includes(`${MARK}=${marker}\0`)) continue;
      const command = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0").slice(0, -1);
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const [, parentPid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      found.push({ pid: Number(name), parentPid: Number(parentPid), command });
    } catch {
      // gone in the meantime, or not ours
    }
  }
  return found;
}

/** Bytes of physical memory a process has held at most; 0 when it is gone. */
export function peakBytes(pid: number): number {
  try {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1];
    return 1024 * Number(kib ?? 0);
  } catch {
    return 0;
  }
}

/** A folder for a test, gone with it. `run` is where `mesh run` keeps its run folders. */
export interface TestFolder extends Disposable {
  path: string;
  run: string;
  marker: string;
  write(files: Files): void;
  at(name: string): string;
  /** Runs that have not removed their folder. */
  runFolders(): string[];
}

export function testFolder(files: Files = {}): TestFolder {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "mesh-run-")));
  const runtime = join(path, ".runtime");
  mkdirSync(runtime, { mode: 0o700 });
  const run = join(runtime, `mesh-${userInfo().uid}`);
  const folder: TestFolder = {
    path,
    run,
    marker: path,
    write(more) {
      for (const [name, content] of Object.entries(more)) {
        mkdirSync(dirname(join(path, name)), { recursive: true });
        if (typeof content === "string" || content instanceof Uint8Array) writeFileSync(join(path, name), content);
        else symlinkSync(content.link, join(path, name));
      }
    },
    at: (name) => join(path, name),
    runFolders: () => (existsSync(run) ? readdirSync(run) : []),
    [Symbol.dispose]() {
      for (const { pid } of processesOf(path)) kill(pid, "SIGKILL");
      rmSync(path, { recursive: true, force: true });
    },
  };
  folder.write(files);
  return folder;
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // gone already
  }
}

export interface MeshOptions {
  /** Files to lay into the folder first. */
  files?: Files;
  env?: Record<string, string | undefined>;
  /** What the process reads; nothing by default. */
  stdin?: string | Uint8Array;
  /** Default: the test's folder. */
  cwd?: string;
  /** The run is killed and the test fails after so long. Default 20 s. */
  limitMs?: number;
  /** Reads nothing from the process's output until asked to. */
  holdsOutput?: boolean;
  /** Others run in the same folder: its end ends none of them. */
  isOneOfMany?: boolean;
  /** A command that becomes mesh: enters another network namespace, for example. */
  through?: readonly string[];
  /** What runs instead of dist/mesh. */
  program?: string;
}

export interface MeshResult {
  stdout: string;
  stderr: string;
  /** Undefined when a signal ended it. */
  status: number | undefined;
  signal: string | undefined;
}

/** `mesh` while it runs. */
export class MeshProcess implements AsyncDisposable {
  readonly pid: number;
  readonly folder: TestFolder;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #limit: NodeJS.Timeout;
  readonly #isOneOfMany: boolean;
  #isLate = false;
  readonly #read: { stdout: Promise<void>; stderr: Promise<void> };
  stdout = "";
  stderr = "";

  constructor(folder: TestFolder, args: string[], options: MeshOptions = {}) {
    this.folder = folder;
    this.#isOneOfMany = options.isOneOfMany ?? false;
    folder.write(options.files ?? {});
    const env = { ...process.env, NO_COLOR: "1", ...environmentOf(folder), ...options.env };
    const child = Bun.spawn([...(options.through ?? []), options.program ?? binary, ...args], {
      cwd: options.cwd ?? folder.path,
      env,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      lazy: true,
    });
    this.#child = child;
    this.pid = child.pid;
    if (options.stdin !== undefined) child.stdin.write(options.stdin);
    void child.stdin.end();
    this.#limit = setTimeout(() => {
      this.#isLate = true;
      this.killAll();
    }, options.limitMs ?? 20_000);
    this.#read = {
      stdout: options.holdsOutput ? Promise.resolve() : this.#collect("stdout"),
      stderr: this.#collect("stderr"),
    };
  }

  async #collect(stream: "stdout" | "stderr"): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#child[stream]) this[stream] += decoder.decode(chunk, { stream: true });
  }

  /** For tests that read on their own; with `holdsOutput`. */
  get output(): ReadableStream<Uint8Array> {
    return this.#child.stdout;
  }

  /** Waits for its end. Throws when it took too long. */
  async ended(): Promise<MeshResult> {
    const status = await this.#child.exited;
    await Promise.all([this.#read.stdout, this.#read.stderr]);
    clearTimeout(this.#limit);
    const { stdout, stderr } = this;
    if (this.#isLate) throw new Error(`mesh took too long and was killed; it had printed:\n${stdout}\n${stderr}`);
    const signal = (this.#child.signalCode as NodeJS.Signals | null) ?? undefined;
    return { stdout, stderr, status: signal ? undefined : status, signal };
  }

  /** Waits until it has printed `text` (or what matches) to stdout, or to `stream`. */
  async prints(text: string | RegExp, stream: "stdout" | "stderr" = "stdout"): Promise<void> {
    const has = () => (typeof text === "string" ? this[stream].includes(text) : text.test(this[stream]));
    const hasEnded = () => this.#child.exitCode !== null || this.#child.signalCode !== null;
    try {
      await until(() => has() || hasEnded(), { what: `${text}` });
    } catch (cause) {
      throw new Error(`mesh did not print ${text}:\n${this.stdout}\n${this.stderr}`, { cause });
    }
    if (!has()) throw new Error(`mesh ended without printing ${text}:\n${this.stdout}\n${this.stderr}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** The processes of this run that live, this one included. */
  get processes(): ProcessInfo[] {
    return processesOf(this.folder.marker);
  }

  /** Those in a role: "head", "slot". */
  inRole(role: "head" | "slot"): ProcessInfo[] {
    return this.processes.filter(({ command }) => command[1] === role);
  }

  /** Kills it and all it started; with others in the folder, itself alone. */
  killAll(): void {
    if (this.#isOneOfMany) kill(this.pid, "SIGKILL");
    else for (const { pid } of this.processes) kill(pid, "SIGKILL");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#limit);
    this.killAll();
    await this.#child.exited;
  }
}

function environmentOf(folder: TestFolder): Record<string, string> {
  return {
    XDG_RUNTIME_DIR: dirname(folder.run),
    XDG_STATE_HOME: join(folder.path, ".state"),
    XDG_DATA_HOME: join(folder.path, ".data"),
    [MARK]: folder.marker,
  };
}

/** Throws unless every process of the folder's runs is gone within `withinMs`, and every run folder with it. */
export async function nothingLeft(folder: TestFolder, withinMs = 3_000): Promise<void> {
  const left = () => [
    ...processesOf(folder.marker).map(({ pid, command }) => `process ${pid}: ${command.join(" ")}`),
    ...folder.runFolders(),
  ];
  try {
    await until(() => left().length === 0, { what: "nothing to be left", timeoutMs: withinMs });
  } catch (cause) {
    throw new Error(`left behind after ${withinMs} ms: ${left().join(", ")}`, { cause });
  }
}

/** Runs `mesh` to its end in a folder of its own, and makes sure that nothing is left of it. */
export async function runMesh(args: string[], options: MeshOptions = {}): Promise<MeshResult> {
  using folder = testFolder();
  await using mesh = new MeshProcess(folder, args, options);
  const result = await mesh.ended();
  await nothingLeft(folder);
  return result;
}

/** Runs `script` as job.ts and returns what became of it; `options.args` are mesh's own, before the script. */
export function runScript(
  script: string,
  options: MeshOptions & { args?: string[]; scriptArgs?: string[] } = {},
): Promise<MeshResult> {
  const { args = [], scriptArgs = [], files, ...rest } = options;
  return runMesh(["run", ...args, "job.ts", ...scriptArgs], { ...rest, files: { ...files, "job.ts": script } });
}

/** As runScript, for one that must succeed and print one line of JSON: returns that. */
export async function resultOf(script: string, options: Parameters<typeof runScript>[1] = {}): Promise<unknown> {
  const { stdout, stderr, status } = await runScript(script, options);
  if (status !== 0) throw new Error(`mesh ended with ${status}:\n${stderr}\n${stdout}`);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}
