// A peer driven by hand: it gets through the handshake and then says what a test wants.

import type { Clock } from "../../core/clock.ts";
import { DialerHandshake, type Welcomed } from "../../core/session/dialer.ts";
import type { HandshakeContext } from "../../core/session/handshake.ts";
import type { LinkEnd } from "../../core/session/link-end.ts";
import { writeAck } from "../../core/session/machine/control-frames.ts";
import type { Peers } from "../../core/session/peers.ts";
import { SPOKEN } from "../../core/session/refusal.ts";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { certificateOf, identityOf, MESH_ID, verify, verifySignature } from "./identities.ts";
import { settle } from "./sim-node.ts";

export interface RawPeerOptions {
  node?: number;
  name?: string;
  epoch?: string;
  lane?: number;
  generation?: number;
  ended?: string[];
  to?: number;
}

export class RawPeer {
  readonly link: Link;
  readonly frames: Uint8Array[] = [];
  /** The first frame it sent. */
  greeting: Uint8Array | undefined;
  welcomed: Welcomed | undefined;
  failure: Error | undefined;
  ended: { error: Error | undefined } | undefined;
  #end: LinkEnd | undefined;

  private constructor(link: Link) {
    this.link = link;
  }

  /** Dials `peers` and says who it is. */
  static async dial(peers: Peers, clock: Clock, options: RawPeerOptions = {}): Promise<RawPeer> {
    const { node = 100, name = "a", epoch = "0102030405060708", lane = 0, generation = 0, ended = [] } = options;
    const certificate = certificateOf(name);
    const context: HandshakeContext = {
      ...{ clock, codec: new Codec(), handshakeMs: 5_000, verify, verifySignature },
      self: { node, name, role: "worker", meshId: MESH_ID, build: "by hand" },
      dialect: { build: "by hand", protocol: SPOKEN },
      identity: () => identityOf(certificate),
      isRevoked: () => false,
    };
    const [near, far] = memoryPair("by hand");
    const raw = new RawPeer(near);
    const send = near.send.bind(near);
    near.send = (head, body) => {
      raw.greeting ??= head.slice();
      return send(head, body);
    };
    const handshake = new DialerHandshake(
      context,
      near,
      {},
      {
        challenged: (challenge) => {
          const to = options.to ?? challenge.node;
          handshake.greet({ to, lane, epoch, generation, ended, addresses: [] });
        },
        welcomed: (welcomed, end) => raw.#take(welcomed, end),
        failed: (error) => {
          raw.failure = error;
        },
      },
    );
    peers.accept(far);
    await settle();
    return raw;
  }

  /** As a dialer does first: how many frames it has taken, and what it allows. */
  ack(taken = 0, allowedBytes = 1_000_000): this {
    return this.send(writeAck({ taken, allowedBytes }));
  }

  send(...frames: Uint8Array[]): this {
    for (const frame of frames) this.link.send(frame);
    return this;
  }

  /** Frames of that type that came. */
  of(type: number): Uint8Array[] {
    return this.frames.filter((frame) => frame[0] === type);
  }

  get end(): LinkEnd | undefined {
    return this.#end;
  }

  #take(welcomed: Welcomed, end: LinkEnd): void {
    this.welcomed = welcomed;
    this.#end = end;
    end.receiver = {
      span: (bytes, start, stop) => void this.frames.push(bytes.slice(start, stop)),
      drained: () => {},
      closed: (error) => {
        this.ended = { error };
      },
    };
  }
}
