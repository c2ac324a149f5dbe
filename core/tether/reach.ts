// Where a tether connects its hosts to: nodes of the mesh, and nothing else. A host is not this machine's user, and what it says
// is no reason to open a connection from here; so an address must be one that a node of the mesh told the coordinator,
// and, as nodes may tell anything, what listens there must first prove to this machine that it is a node.
import { connect, isIP, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { hostAndPort } from "../ip-address.ts";
import type { HostChannel } from "./host-tether.ts";

/** Who listens where: names of nodes by address, such as "tcp://10.0.0.1:7450". */
export type KnownAddresses = ReadonlyMap<string, readonly string[]>;

export interface ReachOptions {
  meshName: string;
  /** Asked when an address is new. Rejects when nobody can be asked. */
  known(): Promise<KnownAddresses>;
  /** Resolves when what listens at "tcp://10.0.0.1:7450", an IP address, proved that it is a node of this mesh. */
  prove(address: string): Promise<void>;
  /** All addresses of a name. */
  resolve(host: string): Promise<string[]>;
  clock: Clock;
}

const CONNECT_LIMIT_MS = 4_000;
/** What proved itself need not do it again for so long. */
const PROVEN_MS = 60_000;
/** The coordinator is not asked more often who is where. */
const ASK_EVERY_MS = 500;

interface Place {
  host: string;
  port: number;
}

export class MeshReach {
  readonly #options: ReachOptions;
  readonly #proven = new Map<string, number>();
  #known: KnownAddresses = new Map();
  #asking: Promise<void> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;

  constructor(options: ReachOptions) {
    this.#options = options;
  }

  /**
   * Connects to a node at that address: by the SSH connection to its host where there is one, else from here. Rejects with
   * AUTHENTICATION for what is no node's address, and as connecting fails.
   */
  async connect(address: string, channelOf: (name: string) => HostChannel | undefined): Promise<Duplex> {
    const names = await this.#namesAt(address);
    const place = placeOf(address);
    for (const name of names) {
      const channel = channelOf(name);
      const stream = channel && (await this.#connectFrom(channel, place));
      if (stream) return stream;
    }
    return await this.#connectFromHere(place);
  }

  /** Undefined when that leads nowhere in time. */
  async #connectFrom(channel: HostChannel, place: Place): Promise<Duplex | undefined> {
    const late = Promise.withResolvers<undefined>();
    let isLate = false;
    const timer = this.#options.clock.after(CONNECT_LIMIT_MS, () => {
      isLate = true;
      late.resolve(undefined);
    });
    const stream = channel.forwardOut(place).catch(() => undefined);
    void stream.then((each) => isLate && each?.destroy());
    return await Promise.race([stream, late.promise]).finally(() => timer.cancel());
  }

  async #namesAt(address: string): Promise<readonly string[]> {
    if (!this.#known.has(address)) await this.#ask();
    const names = this.#known.get(address);
    if (names) return names;
    const { meshName } = this.#options;
    const message = `${address} is no address of a node of the mesh ${meshName}, and this tunnel leads nowhere else`;
    throw new MeshError("AUTHENTICATION", message);
  }

  /** Learns who is where, unless it was just asked. */
  async #ask(): Promise<void> {
    const { clock, known } = this.#options;
    if (!this.#asking && clock.now() - this.#askedAt < ASK_EVERY_MS) return;
    this.#asking ??= known()
      .then((addresses) => {
        this.#known = addresses;
      })
      .finally(() => {
        this.#askedAt = clock.now();
        this.#asking = undefined;
      });
    await this.#asking;
  }

  /** A name is looked up once: what proved itself and what is connected to are the same. */
  async #connectFromHere({ host, port }: Place): Promise<Duplex> {
    let last: unknown = new MeshError("UNREACHABLE", `${host} has no address`);
    for (const ip of isIP(host) === 0 ? await this.#options.resolve(host) : [host]) {
      try {
        await this.#prove({ host: ip, port });
        return await connected({ host: ip, port });
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #prove({ host, port }: Place): Promise<void> {
    const { clock, prove } = this.#options;
    const address = `tcp://${hostAndPort(host, port)}`;
    const now = clock.now();
    if (now < (this.#proven.get(address) ?? 0)) return;
    await prove(address);
    for (const [other, until] of this.#proven) if (until < now) this.#proven.delete(other);
    this.#proven.set(address, now + PROVEN_MS);
  }
}

function placeOf(address: string): Place {
  const [, ipv6, name, port] = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined) throw new MeshError("UNREACHABLE", `${address} is no address to connect to`);
  return { host: ipv6 ?? name ?? "", port: Number(port) };
}

function connected({ host, port }: Place): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
  const late = new MeshError("TIMEOUT", `${host}:${port} did not answer within ${CONNECT_LIMIT_MS} ms`);
  const timer = setTimeout(() => socket.destroy(late), CONNECT_LIMIT_MS);
  socket.once("error", reject);
  socket.once("connect", () => {
    clearTimeout(timer);
    socket.off("error", reject).on("error", () => {}); // it closes, too
    resolve(socket);
  });
  promise.catch(() => clearTimeout(timer));
  return promise;
}
