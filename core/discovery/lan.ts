// Datagrams to everybody in the local networks, and from them.
//
// One socket on the port of discovery, shared with the other listeners of this machine, hears what is sent to the group
// and by broadcast. For each interface another one, on a port of its own, sends: answers to a probe come back to it
// alone, because a datagram to a shared port reaches only one of those who share it.
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { broadcastOf, isOnLink, type LanInterface, lanInterfaces } from "./interfaces.ts";

/** UDP port of discovery. */
export const DISCOVERY_PORT = 7449;

/** Multicast group of discovery, of those that stay within a site (RFC 2365). */
export const DISCOVERY_GROUP = "239.255.74.50";

export interface LanOptions {
  port?: number;
  group?: string;
  /** The interfaces to use; asked again at every refresh. Default `lanInterfaces`. */
  interfaces?: () => LanInterface[];
  /** Told of what does not work, once until it works again. Nothing here throws for the state of a network. */
  warn?(text: string): void;
}

/** One datagram that came; `answer` sends to where it came from. */
export type Received = (bytes: Uint8Array, from: string, answer: (bytes: Uint8Array) => void) => void;

interface Sender {
  interface: LanInterface;
  socket: Socket;
}

export class Lan {
  readonly #port: number;
  readonly #group: string;
  readonly #list: () => LanInterface[];
  readonly #warn: (text: string) => void;
  readonly #received: Received;
  readonly #senders = new Map<string, Sender>();
  /** What does not work now, by what it is. */
  readonly #broken = new Set<string>();
  #hearing: Socket | undefined;
  #interfaces: LanInterface[] = [];
  #isRefreshing = false;
  #isClosed = false;

  private constructor(options: LanOptions, received: Received) {
    this.#port = options.port ?? DISCOVERY_PORT;
    this.#group = options.group ?? DISCOVERY_GROUP;
    this.#list = options.interfaces ?? lanInterfaces;
    this.#warn = options.warn ?? (() => {});
    this.#received = received;
  }

  /** Resolves when it hears and can send, as far as that works here. */
  static async open(options: LanOptions, received: Received): Promise<Lan> {
    const lan = new Lan(options, received);
    await lan.refresh();
    return lan;
  }

  /** The interfaces in use. */
  get interfaces(): readonly LanInterface[] {
    return this.#interfaces;
  }

  /** Port and group, for people. */
  get place(): string {
    const names = this.#interfaces.map(({ name }) => name).join(", ");
    return `UDP port ${this.#port}, group ${this.#group}, on ${names || "no interface"}`;
  }

  /** Takes up interfaces that have come, and leaves those that have gone. Never rejects. */
  async refresh(): Promise<void> {
    if (this.#isRefreshing || this.#isClosed) return;
    this.#isRefreshing = true;
    await this.#refresh();
    this.#isRefreshing = false;
    if (this.#isClosed) this.close();
  }

  async #refresh(): Promise<void> {
    this.#interfaces = this.#look();
    this.#hearing ??= await this.#hear();
    const current = new Map(this.#interfaces.map((each) => [keyOf(each), each]));
    for (const [key, sender] of this.#senders) if (!current.has(key)) this.#leave(key, sender);
    const fresh = [...current].filter(([key]) => !this.#senders.has(key));
    await Promise.all(fresh.map(([key, each]) => this.#join(key, each)));
  }

  /** Sends to all on every interface: to the group, and by broadcast for networks that lose multicast. */
  send(bytes: Uint8Array): void {
    for (const { interface: each, socket } of this.#senders.values()) {
      this.#sendTo(socket, bytes, this.#port, this.#group, `multicast on ${each.name}`);
      const broadcast = broadcastOf(each);
      if (broadcast) this.#sendTo(socket, bytes, this.#port, broadcast, `broadcast on ${each.name}`);
    }
  }

  /** Whether the address is in one of the networks in use. */
  isOnLink(address: string): boolean {
    return isOnLink(address, this.#interfaces);
  }

  close(): void {
    this.#isClosed = true;
    for (const socket of [this.#hearing, ...[...this.#senders.values()].map((sender) => sender.socket)]) end(socket);
    this.#senders.clear();
    this.#hearing = undefined;
  }

  #look(): LanInterface[] {
    try {
      const found = this.#list();
      this.#check("interfaces", found.length > 0, "this machine has no network interface with IPv4");
      return found;
    } catch (error) {
      this.#check("interfaces", false, `the network interfaces of this machine cannot be listed (${codeOf(error)})`);
      return [];
    }
  }

  async #hear(): Promise<Socket | undefined> {
    const { socket, error } = await this.#bind(this.#port, "0.0.0.0");
    const what = "another program has it: only answers to own probes are heard, and others' probes are not";
    this.#check("port", !error, `UDP port ${this.#port} cannot be used (${codeOf(error)}); ${what}`);
    // Those that are in use already were joined by the socket that is gone.
    if (socket) for (const sender of this.#senders.values()) this.#membership(socket, sender.interface);
    return socket;
  }

  async #join(key: string, each: LanInterface): Promise<void> {
    const { socket, error } = await this.#bind(0, each.address);
    this.#check(`socket on ${each.name}`, !error, `no socket for discovery on ${each.name} (${codeOf(error)})`);
    if (!socket) return;
    try {
      socket.setMulticastInterface(each.address);
      socket.setMulticastTTL(1);
      socket.setMulticastLoopback(true);
      socket.setBroadcast(true);
    } catch (cause) {
      this.#check(`multicast on ${each.name}`, false, `${each.name} does not do multicast (${codeOf(cause)})`);
    }
    this.#senders.set(key, { interface: each, socket });
    if (this.#hearing) this.#membership(this.#hearing, each);
  }

  #leave(key: string, { interface: each, socket }: Sender): void {
    this.#senders.delete(key);
    end(socket);
    try {
      this.#hearing?.dropMembership(this.#group, each.address);
    } catch {
      // went with the interface
    }
  }

  #membership(socket: Socket, { name, address }: LanInterface): void {
    let error: unknown;
    try {
      socket.addMembership(this.#group, address);
    } catch (cause) {
      // EADDRINUSE: it is in the group already.
      if (codeOf(cause) !== "EADDRINUSE") error = cause;
    }
    const text = `cannot hear group ${this.#group} on ${name} (${codeOf(error)}): only broadcasts are heard there`;
    this.#check(`group on ${name}`, !error, text);
  }

  #bind(port: number, address: string): Promise<{ socket?: Socket; error?: unknown }> {
    const socket = createSocket({ type: "udp4", reuseAddr: port !== 0 });
    return new Promise((resolve) => {
      // Stays for good: without a handler one ICMP answer would end the process.
      socket.on("error", (error) => {
        resolve({ error });
        if (socket !== this.#hearing && !this.#isSender(socket)) end(socket);
      });
      socket.on("message", (bytes, { address: from, port: fromPort }: RemoteInfo) => {
        if (this.#isClosed) return;
        const answer = (reply: Uint8Array) => this.#sendTo(socket, reply, fromPort, from, "answers");
        this.#received(bytes, from, answer);
      });
      socket.bind({ port, address, exclusive: true }, () => resolve({ socket }));
    });
  }

  #isSender(socket: Socket): boolean {
    return [...this.#senders.values()].some((sender) => sender.socket === socket);
  }

  #sendTo(socket: Socket, bytes: Uint8Array, port: number, address: string, what: string): void {
    const done = (error: unknown) => {
      if (!this.#isClosed) this.#check(what, !error, `discovery: ${what} does not work (${codeOf(error)})`);
    };
    try {
      socket.send(bytes, port, address, done);
    } catch (error) {
      done(error);
    }
  }

  /** Warns when `what` has just stopped working. */
  #check(what: string, works: boolean, text: string): void {
    if (works) this.#broken.delete(what);
    else if (!this.#broken.has(what)) {
      this.#broken.add(what);
      this.#warn(text);
    }
  }
}

function keyOf({ name, address, netmask }: LanInterface): string {
  return `${name} ${address} ${netmask}`;
}

function codeOf(error: unknown): string {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  return code ?? message ?? "unknown";
}

function end(socket: Socket | undefined): void {
  try {
    socket?.close();
  } catch {
    // was closed already
  }
}
