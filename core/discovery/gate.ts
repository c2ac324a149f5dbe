// Which of the beacons in the air a listener believes: those that the coordinator of its own mesh has just signed.
// What costs little is asked first, so that a flood of forged beacons costs little: form, mesh id, sequence, and only
// then, for each source address a few times a second, signatures.
import { verifySignature } from "../identity/keys.ts";
import { pinOf } from "../identity/pin.ts";
import { Trust } from "../identity/trust.ts";
import { type VerifiedPeer, verifyCertificate } from "../identity/verify.ts";
import { RateLimit } from "../rate-limit.ts";
import { BEACON_CONTEXT, type Beacon, parseDatagram } from "./datagram.ts";

/** How far the clocks of coordinator and listener may be apart, and so how long a beacon can be repeated at most. */
export const FRESH_MS = 5 * 60_000;

/** A coordinator that was not heard for so long may be another one now, whose clock is behind that of the first. */
const SILENCE_MS = 15_000;

/** Signatures looked at in a second. One costs some 50 us, with a forged certificate 100. */
const CHECKS = { each: 10, all: 100 };

/** How a listener knows its mesh: by the CAs it trusts, or by the pin of the CA in its join token. */
export type KnownBy = { trust: Trust } | { pin: Uint8Array };

/** Where a mesh listens, signed by its coordinator. */
export interface FoundMesh {
  meshId: string;
  meshName: string;
  /** The coordinator's node id and name. */
  node: number;
  coordinator: string;
  /** Where it can be dialed; the best first. */
  addresses: string[];
  /** The source address of the datagram: for people, and not to be trusted. */
  from: string;
}

/** How often what came was ignored, and why. */
export interface IgnoredCounts {
  /** No datagram of discovery. */
  malformed: number;
  /** Of another mesh, or a probe. */
  foreign: number;
  /** Of our mesh, in another version of discovery. */
  otherVersion: number;
  /** Not newer than one that was believed. */
  old: number;
  /** Over the limit of checks. */
  unchecked: number;
  /** With a certificate or signature that is not our coordinator's. */
  forged: number;
  /** Signed too long ago, or a clock is wrong. */
  stale: number;
}

interface Believed {
  node: number;
  sequence: number;
  time: number;
  /** By the listener's monotonic clock. */
  heardAt: number;
}

export class BeaconGate {
  readonly #meshId: string;
  readonly #knownBy: KnownBy;
  readonly #checks = new RateLimit(CHECKS);
  #pinned: Trust | undefined;
  #last: Believed | undefined;
  readonly ignored: IgnoredCounts = {
    malformed: 0,
    foreign: 0,
    otherVersion: 0,
    old: 0,
    unchecked: 0,
    forged: 0,
    stale: 0,
  };
  /** Why the last one of our mesh id was ignored, for people. */
  refusal: string | undefined;

  constructor(meshId: string, knownBy: KnownBy) {
    this.#meshId = meshId;
    this.#knownBy = knownBy;
  }

  /** The source addresses it remembers: bounded, whatever comes. */
  get size(): number {
    return this.#checks.size;
  }

  /** When one was believed last, by the monotonic clock. */
  get heardAt(): number | undefined {
    return this.#last?.heardAt;
  }

  /** What the datagram says when it is to be believed. `now` is monotonic, `wallNow` milliseconds since 1970. */
  take(bytes: Uint8Array, from: string, now: number, wallNow: number): FoundMesh | undefined {
    const datagram = parseDatagram(bytes);
    if (!datagram) return this.#ignore("malformed");
    if (datagram.kind === "wrong-version") return this.#otherVersion(datagram.meshId, datagram.version);
    if (datagram.kind === "probe" || datagram.beacon.meshId !== this.#meshId) return this.#ignore("foreign");
    const { beacon } = datagram;
    if (this.#isOld(beacon, now)) return this.#ignore("old");
    if (!this.#checks.take(from, now)) return this.#ignore("unchecked");
    const coordinator = this.#verified(beacon, wallNow);
    if (!coordinator) return this.#ignore("forged");
    const ahead = beacon.time - wallNow;
    if (Math.abs(ahead) > FRESH_MS) return this.#ignore("stale", staleWords(ahead));
    const { node, sequence, time, meshId, meshName, addresses } = beacon;
    this.#last = { node, sequence, time, heardAt: now };
    this.refusal = undefined;
    return { meshId, meshName, node, coordinator: coordinator.name, addresses: [...addresses], from };
  }

  #isOld({ node, sequence, time }: Beacon, now: number): boolean {
    const last = this.#last;
    if (!last) return false;
    // A coordinator that was started again has another node id, and counts anew.
    if (node === last.node) return sequence <= last.sequence;
    return time <= last.time && now - last.heardAt < SILENCE_MS;
  }

  #verified(beacon: Beacon, wallNow: number): VerifiedPeer | undefined {
    try {
      const trust = this.#trustFor(beacon);
      const peer = trust && verifyCertificate(beacon.certificate, trust, wallNow);
      if (!peer) this.refusal = "its CA is not that of the join token";
      else if (peer.meshId !== this.#meshId) this.refusal = `it is signed for mesh ${peer.meshId}`;
      else if (peer.role !== "coordinator") this.refusal = `${peer.name}, which signed it, is no coordinator`;
      else if (!isSigned(beacon, peer)) this.refusal = "its signature is wrong";
      else return peer;
    } catch (error) {
      // Whatever a stranger's bytes do to a parser: it is no beacon of ours.
      this.refusal = (error as Error).message;
    }
    return undefined;
  }

  #trustFor({ authority, meshId }: Beacon): Trust | undefined {
    if ("trust" in this.#knownBy) return this.#knownBy.trust;
    if (!Buffer.from(pinOf(authority)).equals(this.#knownBy.pin)) return undefined;
    this.#pinned ??= new Trust(pemOf(authority));
    return this.#pinned.meshId === meshId ? this.#pinned : undefined;
  }

  #otherVersion(meshId: string, version: number): undefined {
    if (meshId !== this.#meshId) return this.#ignore("foreign");
    return this.#ignore("otherVersion", `it is of version ${version}: run the same build of mesh on both machines`);
  }

  #ignore(why: keyof IgnoredCounts, refusal?: string): undefined {
    this.ignored[why]++;
    this.refusal = refusal ?? this.refusal;
  }
}

function isSigned({ signed, signature }: Beacon, peer: VerifiedPeer): boolean {
  return verifySignature(peer.publicKey, Buffer.concat([BEACON_CONTEXT, signed]), signature);
}

function staleWords(aheadMs: number): string {
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  const where = aheadMs > 0 ? "ahead of" : "behind";
  const set = "set the clocks (timedatectl set-ntp true)";
  return `its time is ${minutes} min ${where} this machine's: ${set}; if they are right, somebody repeats old beacons`;
}

function pemOf(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64")}\n-----END CERTIFICATE-----\n`;
}
