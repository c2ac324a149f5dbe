// The sessions of a node, made of its identity, whom it trusts, and its transport.
import type { Clock } from "../clock.ts";
import type { Identity } from "../identity/identity.ts";
import { verifySignature } from "../identity/keys.ts";
import type { Trust } from "../identity/trust.ts";
import { verifyCertificate } from "../identity/verify.ts";
import type { Node } from "../node/node.ts";
import type { Timing } from "../session/machine/liveness.ts";
import type { PeerInfo, PeerSession } from "../session/peer-session.ts";
import { Peers } from "../session/peers.ts";
import type { Link, Transport } from "../transport.ts";
import { maySend } from "../wire/permissions.ts";
import { sizeLimitsOf } from "../wire/size-limits.ts";

export interface SessionsOptions {
  node: Node;
  /** Another one after a renewal. */
  identity(): Identity;
  trust: Trust;
  transport: Transport;
  build: string;
  timing: Partial<Timing>;
  clock: Clock;
  /** Where this node listens, as others are told. */
  addresses(): string[];
  /** More ways to a peer than its addresses; see PeersOptions. */
  waysTo?(addresses: readonly string[]): readonly string[];
  /** A session begins; the node has its route already. */
  begun?(session: PeerSession): void;
  /** A session is over; the node hears it after that. */
  ended?(session: PeerSession): void;
  /** A link was refused, by either side. */
  refused?(error: Error): void;
  /** Asks third parties for a way to a peer that cannot be dialed, or not well. */
  introduce?(peer: PeerInfo): void;
  /** The peer is reached by another path than before. */
  pathChanged?(session: PeerSession): void;
  /** Only where strangers may join: the CA to show them, and what becomes of their first frame. */
  strangers?: { ca(): string; joins(link: Link, frame: Uint8Array): void };
}

/** Makes them, and has the node refuse what a peer's role may not send. */
export function sessionsOf(options: SessionsOptions): Peers {
  const { node, identity, trust, transport, build, timing, clock, addresses, strangers } = options;
  const { name, role, meshId } = identity();
  node.permits = (from, type) => maySend(from, type, role);
  node.sizeLimits = (type) => sizeLimitsOf(role, type);
  return new Peers({
    self: { node: node.address.node, name, role, meshId, build },
    addresses,
    identity,
    verify: (der) => verifyCertificate(der, trust, Date.now()),
    verifySignature: (der, bytes, signature) =>
      verifySignature(verifyCertificate(der, trust, Date.now()).publicKey, bytes, signature),
    dial: (address, dialOptions) => transport.dial(address, dialOptions),
    waysTo: (where) => options.waysTo?.(where) ?? where,
    clock,
    random: Math.random,
    timing,
    onSession: (session) => {
      const { node: number, role: ofPeer, name: nameOfPeer, main: link, bulk } = session;
      options.begun?.(session);
      node.addNode({ node: number, role: ofPeer, name: nameOfPeer, link, bulk });
    },
    onEnded: (session) => options.ended?.(session),
    onRefused: (error) => options.refused?.(error),
    introduce: (peer) => options.introduce?.(peer),
    onPathChanged: (session) => options.pathChanged?.(session),
    ...(strangers && { strangers }),
  });
}
