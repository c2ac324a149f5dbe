// Several networks on this machine: bridges in a namespace of their own, nodes that stand in one or more of them, and
// routers in between. 10.78.N.0/24 is network N; network 0 is the outside, where everybody can dial everybody.
import type { WeatherSettings } from "../../bench/weather/fate.ts";
import { Weather } from "../../bench/weather/weather.ts";
import { labId, processesIn, removeLab, run, throughOf } from "./namespaces.ts";
import { type NatKind, translate } from "./nat.ts";

/** What a router between a private network and the outside lets through. Replies always pass. */
export interface RouterOptions {
  /** What starts inside reaches the outside, under the router's address; all of it, or TCP alone. */
  letsOut: boolean | "tcp";
  /** Default "port". */
  nat?: NatKind;
  /** Where it leads. Default: the outside. */
  to?: string;
  /** Hosts inside reach each other by their outside addresses, too; with nat "full" or "address". */
  hairpin?: boolean;
  /** Hosts inside do not reach each other by their own network, as guests of a Wi-Fi. */
  isolates?: boolean;
  /** It takes what strangers send to its own ports, and answers that nobody is there. */
  answersStrangers?: boolean;
  /** Ports of the router, on the outside, that lead to a port of a node inside. */
  forwards?: Record<number, { node: string; port: number }>;
}

const OUTSIDE = "outside";

export class Network implements Disposable {
  readonly id = labId();
  readonly #numbers = new Map<string, number>();
  readonly #addresses = new Map<string, string>();
  readonly #weathers = new Map<string, Weather>();
  #nodes = 0;

  constructor() {
    try {
      run("ip", "netns", "add", this.#bridges);
      this.addSegment(OUTSIDE);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  addSegment(name: string): void {
    const number = this.#numbers.size;
    this.#numbers.set(name, number);
    this.#atBridges("link", "add", `br${number}`, "type", "bridge");
    this.#atBridges("link", "set", `br${number}`, "up");
  }

  /** A node in these segments; what it sends elsewhere goes to the first one's router, or nowhere. */
  addNode(name: string, segments: readonly string[] = [OUTSIDE]): void {
    run("ip", "netns", "add", this.namespace(name));
    this.inside(name, "ip", "link", "set", "lo", "up");
    for (const segment of segments) this.#attach(name, segment, ++this.#nodes + 9);
    const number = this.#numbers.get(segments[0]!)!;
    // Nobody is there unless a router was added: packets are lost without a word.
    this.inside(
      name,
      "ip",
      "neighbour",
      "add",
      `10.78.${number}.1`,
      "lladdr",
      gatewayMac(number),
      "dev",
      `net${number}`,
    );
    this.inside(name, "ip", "route", "add", "default", "via", `10.78.${number}.1`);
  }

  /**
   * The way from a private segment to the outside; its own address there is that of the node "NAME-router". For the hosts that are in the
   * segment by then.
   */
  addRouter(segment: string, options: RouterOptions): void {
    const { nat: kind = "port", to = OUTSIDE, hairpin = false, forwards = {} } = options;
    const router = `${segment}-router`;
    const [inner, outer] = [segment, to].map((name) => `net${this.#numbers.get(name)}`) as [string, string];
    const hosts = this.#hostsIn(segment);
    this.#standBetween(router, segment, to);
    this.#letThrough(router, inner, outer, options);
    if (options.isolates) this.#isolate(segment);
    translate(this.namespace(router), { kind, inner, outer, outerIp: this.address(router, to), hosts, hairpin });
    for (const [port, { node, port: innerPort }] of Object.entries(forwards)) {
      const destination = `${this.address(node, segment)}:${innerPort}`;
      const match = ["-i", outer, "-p", "tcp", "--dport", port];
      this.#rule(router, "-t", "nat", "-A", "PREROUTING", ...match, "-j", "DNAT", "--to-destination", destination);
    }
  }

  /** A node has an address more, on a bridge that nobody else is on. */
  addBridge(name: string, address: string): void {
    const device = `b${address}`;
    this.inside(name, "ip", "link", "add", device, "type", "bridge");
    this.inside(name, "ip", "address", "add", `${address}/24`, "dev", device);
    this.inside(name, "ip", "link", "set", device, "up");
  }

  /** The command that runs another one on a node, with its name as the machine's name. */
  through(name: string): string[] {
    return throughOf(this.namespace(name), name);
  }

  /** A node's address, "10.78.0.12", in a segment or in its first one. */
  address(name: string, segment?: string): string {
    const found = this.#addresses.get(segment === undefined ? name : `${name} ${segment}`);
    if (found === undefined) throw new Error(`${name} is not in ${segment ?? "the lab"}`);
    return found;
  }

  /** A node's address in its first segment. */
  ip(name: string): string {
    return this.address(name);
  }

  namespace(name: string): string {
    return `${this.id}-${name}`;
  }

  /** Nobody can connect to the node, which connects to others. */
  closeTo(name: string, how: "DROP" | "REJECT"): void {
    this.inside(name, "iptables", "-w", "-A", "INPUT", "!", "-i", "lo", "-p", "tcp", "--syn", "-j", how);
  }

  /** Nothing reaches a node any more, and nothing leaves it. */
  cutOff(name: string): void {
    for (const way of ["INPUT", "OUTPUT"]) this.inside(name, "iptables", "-w", "-A", way, "-j", "DROP");
  }

  /** Each connection to the node's sshd stalls after so many bytes: no more arrive, and nobody is told. */
  stallAfter(name: string, bytes: number): void {
    const sent = [
      "-m",
      "connbytes",
      "--connbytes",
      `${bytes}:`,
      "--connbytes-mode",
      "bytes",
      "--connbytes-dir",
      "original",
    ];
    this.inside(name, "iptables", "-w", "-A", "INPUT", "-p", "tcp", "--dport", "22", ...sent, "-j", "DROP");
  }

  /** From now on this befalls what goes between a node and its first segment; of a router, the one it leads to. */
  async weather(name: string, settings: WeatherSettings): Promise<void> {
    const begun = this.#weathers.get(name);
    if (begun) return await begun.set(settings);
    const [, number, last] = /(\d+)\.(\d+)$/.exec(this.address(name))!;
    const at = `${number}-${last}`;
    this.#weathers.set(name, await Weather.start(this.#bridges, [`near${at}`, `far${at}`], settings));
    this.#atBridges("link", "add", `b${at}`, "type", "bridge");
    const bridged = { [`p${at}`]: `b${at}`, [`near${at}`]: `b${at}`, [`far${at}`]: `br${number}` };
    for (const [device, bridge] of Object.entries(bridged))
      this.#atBridges("link", "set", device, "txqueuelen", "10000", "master", bridge, "up");
    this.#atBridges("link", "set", `b${at}`, "up");
  }

  /** A node's own filters are gone. */
  heal(name: string): void {
    this.inside(name, "iptables", "-w", "-F");
  }

  /** The pids of a node's processes, as this machine counts them. */
  processes(name: string): number[] {
    return processesIn(this.namespace(name));
  }

  inside(name: string, ...command: string[]): string {
    return run("ip", "netns", "exec", this.namespace(name), ...command);
  }

  [Symbol.dispose](): void {
    for (const weather of this.#weathers.values()) weather[Symbol.dispose]();
    removeLab(this.id);
  }

  get #bridges(): string {
    return this.namespace("bridges");
  }

  /** A node that passes on what comes from one segment to the other, and counts it. */
  #standBetween(router: string, segment: string, to: string): void {
    run("ip", "netns", "add", this.namespace(router));
    this.#attach(router, to, ++this.#nodes + 9);
    this.#attach(router, segment, 1);
    if (to !== OUTSIDE) this.inside(router, "ip", "route", "add", "default", "via", `10.78.${this.#numbers.get(to)}.1`);
    for (const setting of ["ipv4/ip_forward", "netfilter/nf_conntrack_acct"]) {
      this.inside(router, "sh", "-c", `echo 1 > /proc/sys/net/${setting}`);
    }
  }

  #letThrough(router: string, inner: string, outer: string, { letsOut, answersStrangers }: RouterOptions): void {
    this.#rule(router, "-P", "FORWARD", "DROP");
    // A stranger's packet that is answered is remembered, and takes the port from who sends to that stranger a moment later.
    const isNew = ["-m", "conntrack", "--ctstate", "NEW"];
    if (!answersStrangers) this.#rule(router, "-A", "INPUT", "-i", outer, ...isNew, "-j", "DROP");
    const isReply = ["-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED,DNAT"];
    this.#rule(router, "-A", "FORWARD", ...isReply, "-j", "ACCEPT");
    const protocol = letsOut === "tcp" ? ["-p", "tcp"] : [];
    if (letsOut) this.#rule(router, "-A", "FORWARD", "-i", inner, "-o", outer, ...protocol, "-j", "ACCEPT");
  }

  #isolate(segment: string): void {
    for (const host of this.#hostsIn(segment)) {
      const [, number, last] = /(\d+)\.(\d+)$/.exec(host)!;
      if (last === "1") continue;
      this.#atBridges("link", "set", `p${number}-${last}`, "type", "bridge_slave", "isolated", "on");
    }
  }

  #rule(name: string, ...rest: string[]): void {
    this.inside(name, "iptables", "-w", ...rest);
  }

  /** Addresses of the nodes in a segment. */
  #hostsIn(segment: string): string[] {
    return [...this.#addresses].filter(([key]) => key.endsWith(` ${segment}`)).map(([, address]) => address);
  }

  #atBridges(...command: string[]): void {
    run("ip", "-n", this.#bridges, ...command);
  }

  #attach(name: string, segment: string, last: number): void {
    const number = this.#numbers.get(segment)!;
    const [port, device] = [`p${number}-${last}`, `net${number}`];
    const peer = ["type", "veth", "peer", device, "netns", this.namespace(name)];
    this.#atBridges("link", "add", port, ...peer);
    this.#atBridges("link", "set", port, "master", `br${number}`, "up");
    const ip = `10.78.${number}.${last}`;
    if (last === 1) this.inside(name, "ip", "link", "set", device, "address", gatewayMac(number));
    this.inside(name, "ip", "address", "add", `${ip}/24`, "dev", device);
    this.inside(name, "ip", "link", "set", device, "up");
    this.#addresses.set(`${name} ${segment}`, ip);
    if (!this.#addresses.has(name)) this.#addresses.set(name, ip);
  }
}

function gatewayMac(number: number): string {
  return `02:00:00:00:${number.toString(16).padStart(2, "0")}:01`;
}
