// A mesh whose workers stand behind routers of all kinds, each behind one of its own, and its coordinator on the outside.
import { until } from "../support/until.ts";
import { CENTRE, DESK, LabMesh, QUICK } from "./lab-mesh.ts";
import { bytesBetween, type NatKind } from "./nat.ts";
import { Network, type RouterOptions } from "./network.ts";

/** Where a worker stands. */
export interface Stand {
  nat: NatKind | "none";
  /** The way out of its network; undefined on the outside. */
  router?: RouterOptions;
  /** Behind the router of that one, in the same network. */
  beside?: string;
  /** Addresses of bridges that lead nowhere, as those of containers. */
  bridges?: string[];
}

const LIMIT_MS = 30_000;
/** Straight to the peer: by the one that answered first, until the better one was tried. */
const DIRECT: Record<string, string> = { tcp: "direct", udp: "direct" };

export interface NatMatrixOptions {
  /** Segments that only lead on to others. */
  between?: Record<string, RouterOptions>;
  /** Where jobs are started. Default: on the outside. */
  desk?: Stand;
  /** The text of mesh.toml everywhere. Default: short limits. */
  config?: string;
  /** What the coordinator listens on. Default "tcp". */
  transport?: "tcp" | "udp";
  /** No process lives longer. */
  limitMs?: number;
}

export class NatMatrix implements AsyncDisposable {
  readonly mesh: LabMesh;
  readonly network: Network;
  readonly stands: Record<string, Stand>;

  private constructor(mesh: LabMesh, network: Network, stands: Record<string, Stand>) {
    this.mesh = mesh;
    this.network = network;
    this.stands = stands;
  }

  /** `stands`: of each worker, by its name. */
  static async start(
    stands: Record<string, Stand>,
    { between = {}, desk = { nat: "none" }, config = QUICK, ...rest }: NatMatrixOptions = {},
  ): Promise<NatMatrix> {
    const network = new Network();
    network.addNode(CENTRE);
    for (const name of Object.keys(between)) network.addSegment(name);
    const all = { [DESK]: desk, ...stands };
    for (const [name, { router, beside, bridges = [] }] of Object.entries(all)) {
      if (router) network.addSegment(name);
      network.addNode(name, router || beside ? [beside ?? name] : undefined);
      for (const address of bridges) network.addBridge(name, address);
    }
    for (const [name, { router }] of Object.entries(all)) if (router) network.addRouter(name, router);
    // After those that lead to them, which are their hosts.
    for (const [name, options] of Object.entries(between)) network.addRouter(name, options);
    const workers = Object.fromEntries(Object.keys(stands).map((name) => [name, 2]));
    return new NatMatrix(await LabMesh.start({ ...rest, workers, ground: network, config }), network, stands);
  }

  /** Each pair once. */
  get pairs(): [string, string][] {
    const names = Object.keys(this.stands);
    return names.flatMap((a, i) => names.slice(i + 1).map((b): [string, string] => [a, b]));
  }

  /** Sends so many bytes from the first of each pair to the other, which answers with as many. Returns pairs that did not. */
  async talk(bytes: number, pairs = this.pairs): Promise<string[]> {
    const script = `import { pool } from "mesh";
const pairs: [string, string][] = ${JSON.stringify(pairs)};
const names = [...new Set(pairs.map(([a]) => a))];
const talk = async (own: string, others: string[]) => Promise.all(others.map(async (other) => {
  const given = new Uint8Array(${bytes}).fill(7);
  const back = await pool({ hosts: other }).submit((bytes: Uint8Array) => bytes.map((byte) => byte + 1), given);
  return back.length === ${bytes} && back.every((byte) => byte === 8) ? [] : [own + " " + other];
}));
const failed = await Promise.all(names.map((own) =>
  pool({ hosts: own }).submit(talk, own, pairs.filter(([a]) => a === own).map(([, b]) => b))));
console.log(JSON.stringify(failed.flat(2)));`;
    return (await this.mesh.resultOf(script)) as string[];
  }

  /** By "from to": "direct", or what else carries each pair, as both say, once that is as expected; or after a while, whatever it is. */
  async paths(
    expected: (a: string, b: string) => string,
    pairs = this.pairs,
    timeoutMs = LIMIT_MS,
  ): Promise<Map<string, string>> {
    const both = pairs.flatMap(([a, b]): [string, string][] => [
      [a, b],
      [b, a],
    ]);
    const seen = new Map<string, string>();
    const look = async () => {
      const { nodes } = await this.mesh.status();
      for (const [from, to] of both) {
        const peer = nodes.find(({ name }) => name === from)?.peers.find(({ name }) => name === to);
        seen.set(`${from} ${to}`, peer ? (DIRECT[peer.path] ?? peer.path) : "none");
      }
      return both.every(([from, to]) => seen.get(`${from} ${to}`) === expected(from, to));
    };
    await until(look, { what: "the expected paths", timeoutMs }).catch(() => {});
    return seen;
  }

  /** The address that others outside see of a worker. */
  outsideOf(name: string): string {
    const { router, beside } = this.stands[name]!;
    if (!router && beside === undefined) return this.network.address(name);
    return this.network.address(`${router?.to ?? beside ?? name}-router`, "outside");
  }

  /** Bytes that went between two workers by way of the first one's router, straight to the other's address. */
  direct(a: string, b: string): number {
    const [behind, other] = this.stands[a]!.router ? [a, b] : [b, a];
    if (this.stands[other]!.beside === behind) return this.#ledBack(behind) + this.#ledBack(behind, other);
    return bytesBetween(
      this.network.namespace(`${behind}-router`),
      this.network.address(behind),
      this.outsideOf(other),
    );
  }

  /** Bytes between a worker and the coordinator's host, where the rendezvous is. */
  toCentre(name: string): number {
    return bytesBetween(
      this.network.namespace(`${name}-router`),
      this.network.address(name),
      this.network.address(CENTRE),
    );
  }

  /** Bytes between a host and its own router's outside address, which leads to another host inside. */
  #ledBack(behind: string, host = behind): number {
    const router = this.network.namespace(`${behind}-router`);
    return bytesBetween(router, this.network.address(host), this.outsideOf(behind));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}
