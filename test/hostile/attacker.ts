// A node of a test's own with a certificate that the mesh gave it: what it sends is up to the test.
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import type { Identity } from "../../core/identity/identity.ts";
import type { Role } from "../../core/identity/names.ts";
import { Trust } from "../../core/identity/trust.ts";
import { localAccess } from "../../core/member/access.ts";
import { sessionsOf } from "../../core/member/sessions.ts";
import { Node } from "../../core/node/node.ts";
import { newNodeNumber } from "../../core/node/number.ts";
import type { PeerSession } from "../../core/session/peer-session.ts";
import type { Peers } from "../../core/session/peers.ts";
import type { Link, Transport } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import type { TestMesh } from "../support/test-mesh.ts";

export interface AttackerOptions {
  identity: Identity;
  /** Default: one without listeners. */
  transport?: Transport;
}

export class Attacker implements AsyncDisposable {
  readonly node = new Node({ node: newNodeNumber(), slot: 0 }, new Codec());
  readonly identity: Identity;
  /** Every link that was dialed, the last one last. */
  readonly links: Link[] = [];
  /** Sessions that are over, with why. */
  readonly ended: { name: string; error: Error | undefined }[] = [];
  readonly refused: Error[] = [];
  readonly #peers: Peers;

  constructor({ identity, transport = transportOf(identity) }: AttackerOptions) {
    this.identity = identity;
    const recording: Transport = {
      name: transport.name,
      listen: (address, accept) => transport.listen(address, accept),
      dial: async (address, options) => {
        const link = await transport.dial(address, options);
        this.links.push(link);
        return link;
      },
    };
    this.#peers = sessionsOf({
      node: this.node,
      identity: () => this.identity,
      trust: new Trust(identity.credentials.caPem),
      transport: recording,
      build: "test",
      timing: {},
      clock: systemClock,
      addresses: () => [],
      ended: ({ name, error }) => void this.ended.push({ name, error }),
      refused: (error) => void this.refused.push(error),
    });
  }

  /** With a certificate for that role and name, as the mesh gives its own user. */
  static async of(mesh: TestMesh, role: Role, name: string): Promise<Attacker> {
    return new Attacker({ identity: await identityIn(mesh, role, name) });
  }

  /** Makes a session with who listens there. */
  connect(address: string, expect: { name?: string; role?: Role } = {}): Promise<PeerSession> {
    return this.#peers.connect([address], expect, { once: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#peers.close();
  }
}

/** A certificate of the mesh for that role and name. */
export async function identityIn(mesh: TestMesh, role: Role, name: string): Promise<Identity> {
  process.env.XDG_STATE_HOME = join(mesh.folder.path, ".state");
  const access = await localAccess(new UnixTransport(), "mesh", role, name);
  if (!access) throw new Error("no coordinator of the mesh runs here");
  return access.identity;
}

export function transportOf({ credentials }: Identity): TcpTransport {
  return new TcpTransport({ credentials: () => credentials });
}
