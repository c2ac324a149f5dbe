// A network of hosts on this machine: each a network namespace with an address of its own, all on one bridge, which is in
// a namespace too, so that nothing of this machine's own network is touched. Only root may make them.
import { hostAndPort } from "../../core/ip-address.ts";
import { labId, removeLab, run, throughOf } from "./namespaces.ts";

export interface LanHost {
  name: string;
  /** Its address: "10.77.0.2" or "fd77::2". */
  ip: string;
  /** The command that runs another one on this host, with its name as the machine's name. */
  through: string[];
}

export class Lan implements Disposable {
  readonly hosts = new Map<string, LanHost>();
  readonly #id: string;
  readonly #family: 4 | 6;

  /** Removes what killed tests left behind first. `family`: the only kind of address there is. */
  constructor(names: readonly string[], family: 4 | 6 = 4) {
    this.#id = labId();
    this.#family = family;
    try {
      run("ip", "netns", "add", this.#bridge);
      this.#inside(this.#bridge, "ip", "link", "add", "br0", "type", "bridge");
      this.#inside(this.#bridge, "ip", "link", "set", "br0", "up");
      for (const name of names) this.#add(name);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  host(name: string): LanHost {
    return this.hosts.get(name)!;
  }

  ip(name: string): string {
    return this.host(name).ip;
  }

  through(name: string): string[] {
    return this.host(name).through;
  }

  /** "tcp://10.77.0.2:7450". */
  address(name: string, port: number, transport: "tcp" | "udp" = "tcp"): string {
    const { ip } = this.host(name);
    return `${transport}://${hostAndPort(ip, port)}`;
  }

  /** Nothing reaches `to` from `from` any more. */
  cutOneWay(from: string, to: string): void {
    this.#rule(to, "-s", this.host(from).ip, "-j", "DROP");
  }

  /** Nothing passes between two hosts any more. */
  cut(a: string, b: string): void {
    this.cutOneWay(a, b);
    this.cutOneWay(b, a);
  }

  /** Nothing passes between a host and all others any more. */
  cutOff(name: string): void {
    for (const other of this.hosts.keys()) if (other !== name) this.cut(name, other);
  }

  /** A firewall: nobody can connect to the host, which connects to others. `how`: without an answer, or with a refusal. */
  closeTo(name: string, how: "DROP" | "REJECT"): void {
    this.#rule(name, "-i", "eth0", "-p", "tcp", "--syn", "-j", how);
  }

  /** A firewall: nothing that a host has not asked for comes in to it. */
  letInRepliesOnly(name: string): void {
    this.#rule(name, "-i", "eth0", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT");
    for (const protocol of ["tcp", "udp"]) this.#rule(name, "-i", "eth0", "-p", protocol, "-j", "DROP");
  }

  /** Every host loses so much of what TCP or UDP brings it; 0 to 1. */
  lose(probability: number, protocol: "tcp" | "udp" = "tcp"): void {
    const lossy = ["-m", "statistic", "--mode", "random", "--probability", String(probability)];
    for (const name of this.hosts.keys()) this.#rule(name, "-i", "eth0", "-p", protocol, ...lossy, "-j", "DROP");
  }

  /** All is well again. */
  heal(): void {
    for (const name of this.hosts.keys()) this.#inside(this.#namespace(name), this.#tables, "-w", "-F", "INPUT");
  }

  /** Ends every process on the hosts, and removes them. */
  [Symbol.dispose](): void {
    removeLab(this.#id);
  }

  get #bridge(): string {
    return `${this.#id}-bridge`;
  }

  get #tables(): string {
    return this.#family === 4 ? "iptables" : "ip6tables";
  }

  #namespace(name: string): string {
    return `${this.#id}-${name}`;
  }

  #add(name: string): void {
    const number = this.hosts.size + 2;
    const namespace = this.#namespace(name);
    const ip = this.#family === 4 ? `10.77.0.${number}` : `fd77::${number}`;
    const mask = this.#family === 4 ? "/24" : "/64";
    run("ip", "netns", "add", namespace);
    // Its name is that of no other interface, in whatever namespace it is made.
    this.#inside(
      this.#bridge,
      "ip",
      "link",
      "add",
      `port${number}`,
      "type",
      "veth",
      "peer",
      "eth0",
      "netns",
      namespace,
    );
    this.#inside(this.#bridge, "ip", "link", "set", `port${number}`, "master", "br0", "up");
    const noCheck = this.#family === 4 ? [] : ["nodad"]; // else the address is of no use for a second
    this.#inside(namespace, "ip", "address", "add", `${ip}${mask}`, "dev", "eth0", ...noCheck);
    this.#inside(namespace, "ip", "link", "set", "lo", "up");
    this.#inside(namespace, "ip", "link", "set", "eth0", "up");
    this.hosts.set(name, { name, ip, through: throughOf(namespace, name) });
  }

  #rule(name: string, ...rule: string[]): void {
    this.#inside(this.#namespace(name), this.#tables, "-w", "-A", "INPUT", ...rule);
  }

  #inside(namespace: string, ...command: string[]): void {
    run("ip", "netns", "exec", namespace, ...command);
  }
}
