// Several machines on one: network namespaces that hang on one switch, a bridge in a namespace of its own. Needs root and
// iproute2. Nothing here touches the networks of this machine.
import { join } from "node:path";
import type { HostLine, HostTask } from "./host.ts";

const MARK = `mesh-${process.pid}`;

function ip(...args: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(["ip", ...args], { stdout: "ignore", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr.toString().trim()}`);
}

/** Why there can be no such network here; undefined when there can. */
export function whyNoNetwork(): string | undefined {
  if (process.platform !== "linux") return "network namespaces are Linux's";
  if (process.getuid?.() !== 0) return "making network namespaces takes root";
  if (Bun.which("ip") === null) return "there is no ip command (install iproute2)";
  const name = `${MARK}-try`;
  try {
    ip("netns", "add", name);
    try {
      ip("-n", name, "link", "add", "br0", "type", "bridge");
    } finally {
      ip("netns", "del", name);
    }
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What the switch does not carry. */
export type Loss = "multicast" | "broadcast";

/** Machines 10.77.0.1, 10.77.0.2, … on one switch; gone with the test, and all that runs in them. */
export class Network implements AsyncDisposable {
  readonly #switch: string;
  readonly #hosts: string[] = [];
  readonly #running: Bun.Subprocess[] = [];

  constructor(hosts: number, losses: readonly Loss[] = []) {
    this.#switch = `${MARK}-switch`;
    ip("netns", "add", this.#switch);
    ip("-n", this.#switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
    ip("-n", this.#switch, "link", "set", "br0", "up");
    for (let number = 1; number <= hosts; number++) this.#add(number, losses);
  }

  #add(number: number, losses: readonly Loss[]): void {
    const name = `${MARK}-host${number}`;
    const port = `port${number}`;
    ip("netns", "add", name);
    this.#hosts.push(name);
    ip("-n", this.#switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name);
    ip("-n", this.#switch, "link", "set", port, "master", "br0", "up");
    for (const loss of losses) {
      ip("-n", this.#switch, "link", "set", port, "type", "bridge_slave", flagOf(loss), "off");
    }
    ip("-n", name, "addr", "add", `10.77.0.${number}/24`, "dev", "eth0");
    ip("-n", name, "link", "set", "lo", "up");
    ip("-n", name, "link", "set", "eth0", "up");
  }

  /** Takes the cable of a machine out or in. */
  plug(number: number, isIn: boolean): void {
    const name = this.#hosts[number - 1]!;
    if (isIn) {
      ip("-n", name, "link", "set", "eth0", "up");
      ip("-n", name, "addr", "replace", `10.77.0.${number}/24`, "dev", "eth0");
    } else ip("-n", name, "addr", "flush", "dev", "eth0");
  }

  /** Runs host.ts on machine `number`, and yields what it prints. */
  async *run(number: number, task: HostTask): AsyncGenerator<HostLine> {
    const script = join(import.meta.dirname, "host.ts");
    const command = ["ip", "netns", "exec", this.#hosts[number - 1]!, process.execPath, script, JSON.stringify(task)];
    const child = Bun.spawn(command, { stdout: "pipe", stderr: "inherit", stdin: "ignore" });
    this.#running.push(child);
    let text = "";
    for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (text + chunk).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) yield JSON.parse(line) as HostLine;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#running) child.kill("SIGKILL");
    await Promise.all(this.#running.map((child) => child.exited));
    for (const name of [...this.#hosts, this.#switch]) ip("netns", "del", name);
  }
}

function flagOf(loss: Loss): string {
  return loss === "multicast" ? "mcast_flood" : "bcast_flood";
}
