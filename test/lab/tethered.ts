// A mesh whose coordinator and jobs are at a desk that nobody can dial, and whose workers are on hosts that the desk reaches by
// SSH. The workers are laid out by hand, so that the tether alone is what is tested.
import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NodeStatus, Status } from "../../core/coordinator/answers.ts";
import { saveCredentials } from "../../core/identity/credentials.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { askForCertificate, CERTIFICATE_SOCKET } from "../../core/member/certificate-socket.ts";
import { ensureTether, releaseTether, type TetherAccess } from "../../core/tether/ensure.ts";
import type { TetheredState } from "../../core/tether/tether.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { binary, kill, type MeshProcess } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { QUICK } from "./lab-mesh.ts";
import { SshLab, type SshLabOptions } from "./ssh-hosts.ts";

const STATE = ".local/state";
const MESH = "mesh";

export class TetheredMesh implements AsyncDisposable {
  readonly lab: SshLab;
  readonly unix = new UnixTransport();
  /** That of the binary, as it says. */
  readonly build: string;
  #coordinator: MeshProcess | undefined;
  readonly #stateBefore = process.env.XDG_STATE_HOME;

  private constructor(lab: SshLab) {
    this.lab = lab;
    const { version, commit } = JSON.parse(Bun.spawnSync([binary, "version", "--json"]).stdout.toString());
    this.build = `${version} (${commit})`;
    process.env.XDG_STATE_HOME = lab.folder.at(STATE);
  }

  /** Resolves when the coordinator runs. No worker does yet. */
  static async start(hosts: SshLabOptions["hosts"], segments: SshLabOptions["segments"] = {}): Promise<TetheredMesh> {
    const house = { house: { letsOut: true }, ...segments };
    const withBinary = Object.entries(hosts).map(([name, options]) => [name, { hasBinary: true, ...options }]);
    const files = { "mesh.toml": QUICK };
    const lab = await SshLab.start({ segments: house, deskIn: "house", hosts: Object.fromEntries(withBinary), files });
    const mesh = new TetheredMesh(lab);
    mesh.#coordinator = lab.start(["coordinator"], { limitMs: 110_000 });
    await mesh.#coordinator.prints(/ ready .*listen=/, "stderr");
    return mesh;
  }

  /** Where the coordinator listens, in the desk's network. */
  get address(): string {
    return `tcp://${this.lab.network.address("desk")}:7450`;
  }

  /** Lays out a worker on a host and starts it. It cannot join yet. */
  async startWorker(name: string, slots = 1): Promise<void> {
    const host = this.lab.host(name);
    const { publicKey, keyPem } = createKeyPair();
    const socket = join(this.lab.folder.at(STATE), "mesh", MESH, CERTIFICATE_SOCKET);
    const joined = await askForCertificate(this.unix, socket, { publicKey, role: "worker", name });
    const { certificatePem, caPem, meshId, coordinators } = joined;
    saveCredentials(host.path(this.#joined(name)), {
      ...{ meshId, role: "worker", name, meshName: MESH, coordinators },
      credentials: { certificatePem, caPem, keyPem },
    });
    host.run(`cat > /root/mesh.toml << 'END'\n${QUICK}END`);
    const command = `$(ls .cache/mesh/bin/*/mesh) worker --mesh ${MESH} --name ${name} --slots ${slots}`;
    host.run(`cd /root; HOME=/root PATH=/usr/bin:/bin setsid ${command} > worker.log 2>&1 < /dev/null &`);
  }

  /** As `mesh up` does. Resolves with what the tether says of the hosts. */
  tether(...names: string[]): Promise<TetheredState[]> {
    const hosts = names.map((name) => ({ name, target: name, socketPath: `${this.#joined(name)}/tunnel.sock` }));
    return ensureTether(hosts, this.access());
  }

  /** As `mesh down` does. */
  release(name: string): Promise<void> {
    return releaseTether(name, this.access());
  }

  access(): TetherAccess {
    const log = (text: string) => appendFileSync(this.lab.folder.at("tether.log"), text);
    return {
      ...{ meshName: MESH, unix: this.unix, asker: { build: this.build, agent: undefined } },
      start: () => {
        const tether = this.lab.start(["tether", MESH], { limitMs: 110_000 });
        void tether.ended().then(({ stderr }) => log(stderr));
      },
    };
  }

  /** What the coordinator said. */
  get coordinatorLog(): string {
    return this.#coordinator!.stderr;
  }

  /** Process ids of tethers. */
  get tethers(): number[] {
    return this.lab.processes.filter(({ command }) => command[1] === "tether").map(({ pid }) => pid);
  }

  killTether(): void {
    for (const pid of this.tethers) kill(pid, "SIGKILL");
  }

  /** What runs on a host of which a line of its command holds that. */
  onHost(name: string, word: string): number {
    return this.lab.host(name).processes.filter(({ command }) => command.includes(word)).length;
  }

  async status(): Promise<Status> {
    return JSON.parse((await this.lab.succeed(["status", "--json"])).stdout) as Status;
  }

  async nodeIs(name: string, is: (node: NodeStatus | undefined) => boolean, timeoutMs = 20_000): Promise<NodeStatus> {
    let last: NodeStatus | undefined;
    const look = async () => {
      last = (await this.status()).nodes.find((node) => node.name === name);
      return is(last);
    };
    await until(look, { what: `node ${name} to be as wanted`, timeoutMs }).catch((cause) => {
      const log = this.lab.host(name).run("cat /root/worker.log");
      throw new Error(`node ${name} is ${JSON.stringify(last)}\n${log}`, { cause });
    });
    return last!;
  }

  run(script: string): MeshProcess {
    this.lab.folder.write({ "job.ts": script });
    return this.lab.start(["run", "job.ts"]);
  }

  async resultOf(script: string): Promise<unknown> {
    await using run = this.run(script);
    const { stdout, stderr, status } = await run.ended();
    if (status !== 0) throw new Error(`mesh run ended with ${status}:\n${stderr}\n${stdout}`);
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  }

  /** Lets items go on that wait for /tmp/gate on their host. */
  open(name: string): void {
    writeFileSync(this.lab.host(name).path("/tmp/gate"), "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      for (const host of this.lab.hosts.values()) {
        for (const { pid, command } of host.processes) if (command[1] === "worker") kill(pid, "SIGTERM");
      }
      for (const pid of this.tethers) kill(pid, "SIGTERM");
      const ended = () => this.tethers.length === 0;
      await until(ended, { what: "the tether to end", timeoutMs: 15_000 });
      this.#coordinator?.signal("SIGTERM");
      await this.#coordinator?.ended();
    } finally {
      if (this.#stateBefore === undefined) delete process.env.XDG_STATE_HOME;
      else process.env.XDG_STATE_HOME = this.#stateBefore;
      await this.lab[Symbol.asyncDispose]();
    }
  }

  #joined(name: string): string {
    return `/root/${STATE}/mesh/${MESH}/joined/${name}`;
  }
}
