// A command of a user as a node of the mesh, for as long as it asks something: the coordinator, and workers that it meets.
import { hostname } from "node:os";
import type { Clock } from "../clock.ts";
import type { Status } from "../coordinator/answers.ts";
import type { Introduce } from "../coordinator/bodies.ts";
import type { MeshClient, MetNode } from "../coordinator/client.ts";
import { MeshError } from "../errors.ts";
import { Trust } from "../identity/trust.ts";
import { silentLog } from "../log.ts";
import type { Node, RequestOptions } from "../node/node.ts";
import type { Timing } from "../session/machine/liveness.ts";
import type { PeerInfo, PeerSession } from "../session/peer-session.ts";
import type { MeshTransport } from "../transport.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import type { Access } from "./access.ts";
import { reachableAddresses } from "./addresses.ts";
import { Connections } from "./connections.ts";
import type { Listening } from "./listening.ts";

export interface ClientOptions extends Access, Listening {
  node: Node;
  transport: MeshTransport;
  build: string;
  timing: Partial<Timing>;
  clock: Clock;
}

const CONNECT_LIMIT_MS = 10_000;
/** A coordinator that is flooded with connections may hang up on an honest one. It makes room every 500 ms. */
const TRIES = 3;
const RETRY_MS = 700;

export class Client implements MeshClient {
  readonly node: Node;
  readonly mesh: string;
  readonly #options: ClientOptions;
  readonly #connections: Connections;
  #session: PeerSession | undefined;
  #listens: Promise<void> | undefined;

  constructor(options: ClientOptions) {
    const { node, meshName, identity } = options;
    this.node = node;
    this.mesh = meshName;
    this.#options = options;
    const trust = new Trust(identity.credentials.caPem);
    this.#connections = new Connections({
      ...options,
      identity: () => identity,
      trust,
      known: () => this.#rendezvous(),
      log: silentLog,
      introduce: (node) => void this.#askIntroduction(node),
    });
  }

  get coordinator(): Address {
    if (!this.#session) throw new MeshError("LINK_CLOSED", `the mesh ${this.mesh} was not connected to`);
    return { node: this.#session.node, slot: 0 };
  }

  /** Connects. Throws UNREACHABLE, AUTHENTICATION or TIMEOUT. */
  async start(): Promise<void> {
    for (let tries = 1; !this.#session; tries++) {
      try {
        this.#session = await this.#connect();
      } catch (error) {
        if (tries === TRIES || !wasHungUpOn(error)) throw error;
        await new Promise<void>((next) => this.#options.clock.after(RETRY_MS, next));
      }
    }
  }

  async ask<Answer>(type: number, body: unknown, options?: RequestOptions): Promise<Answer> {
    return (await this.node.request(this.coordinator, type, body, options)) as Answer;
  }

  async meet(nodes: readonly MetNode[]): Promise<void> {
    // Where a peer listens it is missed at once when it is killed: nobody answers there any more.
    this.#listens ??= this.#connections.listen();
    await this.#listens;
    const own = hostname();
    for (const { node, name, role, host, addresses } of nodes) {
      this.#connections.peers.to({ node, name, role, addresses: reachableAddresses(addresses, host === own) });
    }
  }

  natAndRendezvous(): ReturnType<MeshClient["natAndRendezvous"]> {
    return this.#connections.paths.natAndRendezvous();
  }

  /** Those that are nothing else, then the coordinator, which is one too. */
  async #rendezvous(): Promise<PeerInfo[]> {
    const { nodes } = await this.ask<Status>(MessageType.status, {}, { timeoutMs: CONNECT_LIMIT_MS });
    const others = nodes.filter(({ role, state }) => role === "rendezvous" && state !== "down");
    return [...others, ...(this.#session ? [this.#session.info] : [])];
  }

  async #askIntroduction(node: number): Promise<void> {
    if (node === this.#session?.node) return;
    const body: Introduce = { node, addresses: this.#connections.addresses };
    // Refused or lost: then the own dials decide, and say why.
    await this.ask(MessageType.introduce, body, { timeoutMs: CONNECT_LIMIT_MS }).catch(() => {});
  }

  #connect(): Promise<PeerSession> {
    const { coordinators } = this.#options;
    const limit = { timeoutMs: CONNECT_LIMIT_MS, once: true };
    return this.#connections.peers.connect([...coordinators], { role: "coordinator" }, limit);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connections.close();
    this.node.release();
  }
}

/** Somebody listens there, and broke the connection before it had said anything. */
function wasHungUpOn(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (error as { code?: unknown }).code === "ECONNRESET" || wasHungUpOn(error.cause);
}
