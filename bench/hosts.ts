// Commands and files on hosts of a mesh that is up, beside ssh and scp with a real sshd. All hosts are this machine: what differs is
// what stands between, not the network.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Contender, MESH, type Workload } from "./contender.ts";
import { type BenchSshd, startSshd } from "./sshd.ts";

const HOSTS = 8;
const NAMES = Array.from({ length: HOSTS }, (_, at) => `h${at + 1}`);
const FILE_MIB = 1_024;
const READY_LIMIT_MS = 20_000;

/** A mesh of workers, and an sshd, until this process ends. */
class Hosts {
  readonly folder = mkdtempSync(join(tmpdir(), "mesh-bench-"));
  readonly #env: Record<string, string | undefined>;
  readonly #children: Bun.Subprocess[] = [];

  constructor() {
    mkdirSync(join(this.folder, "run"), { mode: 0o700 });
    const { folder } = this;
    this.#env = { ...process.env, XDG_STATE_HOME: join(folder, "state"), XDG_RUNTIME_DIR: join(folder, "run") };
    process.on("exit", () => this.#end());
  }

  async start(workers: number): Promise<void> {
    await this.#daemon("coordinator", ["--listen", "tcp://127.0.0.1:0"]);
    const names = Array.from({ length: workers }, (_, at) => `w${at + 1}`);
    await Promise.all(names.map((name) => this.#daemon("worker", ["--name", name, "--slots", "1"], name)));
  }

  /** Runs a command that must succeed; returns the seconds it took. */
  async seconds(command: readonly string[]): Promise<number> {
    const start = performance.now();
    const child = Bun.spawn([...command], { env: this.#env, cwd: this.folder, stdio: ["ignore", "ignore", "pipe"] });
    const [words, status] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    if (status !== 0) throw new Error(`${command.join(" ")} ended with ${status}: ${words}`);
    return (performance.now() - start) / 1_000;
  }

  async #daemon(role: string, args: string[], name = role): Promise<void> {
    const log = join(this.folder, `${name}.log`);
    const child = Bun.spawn([MESH, role, ...args], {
      env: { ...this.#env, HOME: this.folder },
      cwd: this.folder,
      stdio: ["ignore", "ignore", Bun.file(log)],
    });
    this.#children.push(child);
    const end = performance.now() + READY_LIMIT_MS;
    while (!readLog(log).includes(" ready ")) {
      if (performance.now() > end || child.exitCode !== null) throw new Error(`${name} did not start: ${readLog(log)}`);
      await Bun.sleep(20);
    }
  }

  #end(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function sizeOf(path: string): number {
  return statSync(path).size;
}

function readLog(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

let hosts: Promise<Hosts> | undefined;

function allHosts(): Promise<Hosts> {
  hosts ??= (async () => {
    const made = new Hosts();
    await made.start(HOSTS);
    return made;
  })();
  return hosts;
}

/** `mesh up` on hosts that have nothing, beside sftp of as many bytes to each at once. */
export async function coldUp(): Promise<Workload> {
  const fleet = await Fleet.start();
  const floor: Contender[] = fleet
    ? [{ name: "sftp of the binary, all at once", run: () => fleet.eachAtOnce((name) => fleet.sftp(name)) }]
    : [];
  const cold = async () => {
    await fleet!.mesh("down", "--purge");
    const seconds = await fleet!.mesh("up");
    await fleet!.mesh("down", "--purge");
    return seconds;
  };
  return {
    title: `mesh up of ${HOSTS} hosts that have nothing`,
    unit: "s",
    lessIsBetter: true,
    contenders: fleet ? [{ name: "mesh up", run: cold }, ...floor] : [],
    bars: [{ text: "at most 1.5 times sftp", against: "sftp of the binary, all at once", ratio: 1 / 1.5 }],
    end: () => fleet?.end(),
  };
}

/** `mesh up` where all is up already, and where the binary is there and no worker runs. */
export async function warmUp(): Promise<Workload> {
  const fleet = await Fleet.start();
  const ssh = "ssh, all at once";
  const again = async () => {
    await fleet!.mesh("up");
    return await fleet!.mesh("up");
  };
  const restart = async () => {
    await fleet!.mesh("up");
    await fleet!.mesh("down");
    return await fleet!.mesh("up");
  };
  return {
    title: `mesh up of ${HOSTS} hosts again`,
    unit: "s",
    lessIsBetter: true,
    contenders: fleet
      ? [
          { name: "mesh up, all is up", run: again },
          { name: "mesh up after mesh down", run: restart },
          { name: ssh, run: () => fleet.eachAtOnce((name) => fleet.ssh(name)) },
        ]
      : [],
    bars: [{ text: "at most 2 times ssh to all at once", against: ssh, ratio: 1 / 2 }],
    end: () => fleet?.end(),
  };
}

/** Hosts over SSH, and a desk that knows them. */
class Fleet {
  readonly #sshd: BenchSshd;
  readonly #env: Record<string, string | undefined>;

  private constructor(sshd: BenchSshd) {
    this.#sshd = sshd;
    this.#env = {
      ...process.env,
      HOME: sshd.folder,
      XDG_STATE_HOME: join(sshd.folder, "desk"),
      MESH_SSH_CONFIG: sshd.configFile,
      SSH_AUTH_SOCK: undefined,
      XDG_RUNTIME_DIR: undefined,
    };
  }

  static async start(): Promise<Fleet | undefined> {
    const sshd = await startSshd(NAMES);
    if (!sshd) return undefined;
    const fleet = new Fleet(sshd);
    const hosts = NAMES.map((name) => `[hosts.${name}]\nslots = 1\n`).join("");
    writeFileSync(join(sshd.folder, "mesh.toml"), `[coordinator]\nlisten = ["tcp://127.0.0.1:0"]\n${hosts}`);
    await fleet.mesh("up", NAMES[0]!); // compresses the binary, once for all runs
    return fleet;
  }

  /** Seconds. */
  mesh(...args: string[]): Promise<number> {
    return this.#seconds([MESH, ...args]);
  }

  ssh(name: string): Promise<number> {
    return this.#seconds(["ssh", "-F", this.#sshd.configFile, name, "true"]);
  }

  sftp(name: string): Promise<number> {
    const packed = join(this.#sshd.folder, ".cache/mesh/packed");
    // Beside it lies what is known of it.
    const [largest] = readdirSync(packed).sort((a, b) => sizeOf(join(packed, b)) - sizeOf(join(packed, a)));
    const put = `put ${join(packed, largest!)} ${join(this.#sshd.folder, name, "copy")}\n`;
    return this.#seconds(["sftp", "-q", "-b", "-", "-F", this.#sshd.configFile, name], put);
  }

  async eachAtOnce(act: (name: string) => Promise<number>): Promise<number> {
    const start = performance.now();
    await Promise.all(NAMES.map(act));
    return (performance.now() - start) / 1_000;
  }

  async end(): Promise<void> {
    await this.mesh("down", "--grace", "0");
    this.#sshd.end();
  }

  async #seconds(command: string[], input = ""): Promise<number> {
    const start = performance.now();
    const options = { env: this.#env, cwd: this.#sshd.folder, stdin: Buffer.from(input) };
    const child = Bun.spawn(command, { ...options, stdout: "ignore", stderr: "pipe" });
    const [words, status] = await Promise.all([new Response(child.stderr).text(), child.exited]);
    if (status !== 0) throw new Error(`${command.join(" ")} ended with ${status}: ${words}`);
    return (performance.now() - start) / 1_000;
  }
}

/** `mesh exec -- true` on all hosts beside as many `ssh true` at once. */
export async function exec(): Promise<Workload> {
  const all = await allHosts();
  const sshd = await startSshd();
  const ssh: Contender[] = sshd
    ? [
        {
          name: "ssh, all at once",
          run: async () => {
            const start = performance.now();
            const one = () => all.seconds(["ssh", "-F", sshd.configFile, "host", "true"]);
            await Promise.all(Array.from({ length: HOSTS }, one));
            return (performance.now() - start) / 1_000;
          },
        },
      ]
    : [];
  return {
    title: `a command on ${HOSTS} hosts`,
    unit: "s",
    lessIsBetter: true,
    contenders: [{ name: "mesh exec", run: () => all.seconds([MESH, "exec", "--", "true"]) }, ...ssh],
    bars: [{ text: "faster than ssh to all at once", against: "ssh, all at once", ratio: 1 }],
    end: () => sshd?.end(),
  };
}

/** One large file to a host, with nothing of it there before. */
export async function cp(): Promise<Workload> {
  const all = await allHosts();
  const sshd = await startSshd();
  const source = join(all.folder, "source");
  writeFileSync(source, new Uint8Array(0));
  await all.seconds(["sh", "-c", `head -c ${FILE_MIB}M /dev/urandom > ${source}`]);
  const rate = async (target: string, command: readonly string[]) => {
    rmSync(target, { force: true });
    const rateMibS = FILE_MIB / (await all.seconds(command));
    rmSync(target, { force: true });
    return rateMibS;
  };
  const scp: Contender[] = sshd
    ? [
        {
          name: "scp",
          run: () => {
            const target = join(sshd.folder, "copy");
            return rate(target, ["scp", "-q", "-F", sshd.configFile, source, `host:${target}`]);
          },
        },
      ]
    : [];
  return {
    title: `a file of ${FILE_MIB} MiB to a host`,
    unit: "MiB/s",
    lessIsBetter: false,
    contenders: [
      { name: "mesh cp", run: () => rate(join(all.folder, "copy"), [MESH, "cp", source, "w1:copy"]) },
      ...scp,
    ],
    bars: [{ text: "0.8 of scp", against: "scp", ratio: 0.8 }],
    end: () => sshd?.end(),
  };
}
