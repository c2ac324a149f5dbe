// Sessions over a real transport, with the identities of a real mesh.
import { systemClock } from "../../core/clock.ts";
import { type Credentials, identityFrom } from "../../core/identity/identity.ts";
import { verifySignature } from "../../core/identity/keys.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import type { OwnIdentity } from "../../core/session/handshake.ts";
import type { PeerSession } from "../../core/session/peer-session.ts";
import { Peers, type PeersOptions } from "../../core/session/peers.ts";
import type { Listener, Transport } from "../../core/transport.ts";
import type { TestCa } from "../support/certificates.ts";
import { LaneLog } from "./sim-node.ts";

export interface MeshNode {
  peers: Peers;
  logs: { session: PeerSession; main: LaneLog; bulk: LaneLog }[];
  refused: Error[];
  listener: Listener;
  /** It shows these from now on. */
  renew(credentials: Credentials): void;
}

/** Makes nodes of a mesh that listen on loopback, and ends all of them. */
export class MeshNodes {
  readonly #ca: TestCa;
  readonly #transportOf: (credentials: () => Credentials) => Transport;
  readonly #cleanUps: (() => unknown)[] = [];
  #nextLane = 1;

  constructor(ca: TestCa, transportOf: (credentials: () => Credentials) => Transport) {
    this.#ca = ca;
    this.#transportOf = transportOf;
  }

  /** `shown` stands in for what it shows of itself; it checks others as every node of the mesh does. */
  async make(name: string, node: number, more: Partial<PeersOptions> = {}, shown?: OwnIdentity): Promise<MeshNode> {
    let credentials = await this.#ca.issue(name);
    let identity = identityFrom(credentials);
    const trust = new Trust(credentials.caPem);
    const transport = this.#transportOf(() => credentials);
    const renew = (renewed: Credentials) => {
      credentials = renewed;
      identity = identityFrom(renewed);
    };
    const logs: MeshNode["logs"] = [];
    const refused: Error[] = [];
    const verified = (der: Uint8Array) => verifyCertificate(der, trust, Date.now());
    const peers = new Peers({
      self: { node, name, role: identity.role, meshId: identity.meshId, build: "test" },
      addresses: () => [],
      identity: () => shown ?? identity,
      verify: verified,
      verifySignature: (der, bytes, signature) => verifySignature(verified(der).publicKey, bytes, signature),
      dial: (address, options) => transport.dial(address, options),
      clock: systemClock,
      random: Math.random,
      onSession: (session) => {
        const [main, bulk] = [new LaneLog(this.#nextLane++, session.main), new LaneLog(this.#nextLane++, session.bulk)];
        logs.push({ session, main, bulk });
      },
      onRefused: (error) => void refused.push(error),
      ...more,
    });
    const listener = await transport.listen(`${transport.name}://127.0.0.1:0`, (link) => peers.accept(link));
    this.onEnd(async () => {
      for (const { session } of logs) session.main.destroy(new Error("test over"));
      await listener.close();
    });
    return { peers, logs, refused, listener, renew };
  }

  onEnd(cleanUp: () => unknown): void {
    this.#cleanUps.push(cleanUp);
  }

  async end(): Promise<void> {
    for (const cleanUp of this.#cleanUps.splice(0).reverse()) await cleanUp();
  }
}
