// The coordinator's side of discovery: says every two seconds, signed, where it listens, and answers who asks.
// Nothing is sent unless somebody starts it: `mesh coordinator --discoverable`.
import type { Clock, Timer } from "../clock.ts";
import type { Identity } from "../identity/identity.ts";
import { derOf } from "../identity/pem.ts";
import { Trust } from "../identity/trust.ts";
import { readCertificate } from "../identity/verify.ts";
import { RateLimit } from "../rate-limit.ts";
import { encodeBeacon, parseDatagram } from "./datagram.ts";
import { Lan, type LanOptions } from "./lan.ts";

/** Probes answered in a second. */
const ANSWERS = { each: 5, all: 100 };

export interface BeaconOptions extends LanOptions {
  /** Who the coordinator is now: it renews its certificate while it runs. */
  identity(): Identity;
  /** Its node id. */
  node: number;
  meshName: string;
  /** Where it listens, the best first. What does not fit is left out from the end. */
  addresses(): readonly string[];
  clock: Clock;
  /** The time of day, milliseconds since 1970. Default Date.now. */
  wallClock?(): number;
  /** Milliseconds between two beacons. Default 2,000. */
  everyMs?: number;
}

/** Sends beacons until it is closed. */
export interface RunningBeacon extends Disposable {
  /** Probes answered so far, and those of this mesh that were not: too many, too small, or from outside our networks. */
  readonly answered: number;
  readonly unanswered: number;
  close(): void;
}

/** Sends the first beacon and goes on. Never fails for the state of the network: `warn` is told. */
export async function startBeacon(options: BeaconOptions): Promise<RunningBeacon> {
  const announcer = new Announcer(options);
  await announcer.start();
  return announcer;
}

class Announcer implements RunningBeacon {
  readonly #options: BeaconOptions;
  readonly #answers = new RateLimit(ANSWERS);
  readonly #everyMs: number;
  #lan: Lan | undefined;
  #timer: Timer | undefined;
  #sequence = 0;
  #current: Uint8Array | undefined;
  #authority: { identity: Identity; der: Uint8Array } | undefined;
  #isClosed = false;
  #lastFailure: string | undefined;
  answered = 0;
  unanswered = 0;

  constructor(options: BeaconOptions) {
    this.#options = options;
    this.#everyMs = options.everyMs ?? 2_000;
  }

  async start(): Promise<void> {
    this.#current = this.#make();
    this.#lan = await Lan.open(this.#options, (bytes, from, answer) => this.#received(bytes, from, answer));
    this.#send();
    this.#wait();
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#lan?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #wait(): void {
    this.#timer = this.#options.clock.after(this.#everyMs, () => void this.#beat());
  }

  async #beat(): Promise<void> {
    this.#wait();
    this.#current = this.#make();
    this.#send();
    await this.#lan?.refresh();
  }

  #send(): void {
    if (this.#current) this.#lan?.send(this.#current);
  }

  /** The next beacon; undefined, with a warning, when there is nothing to say. */
  #make(): Uint8Array | undefined {
    const { identity, node, meshName, addresses, wallClock = Date.now } = this.#options;
    const self = identity();
    const { meshId, certificate } = self;
    try {
      const authority = this.#authorityOf(self);
      const content = { meshId, meshName, node, sequence: ++this.#sequence, time: wallClock(), certificate, authority };
      const bytes = encodeBeacon({ ...content, addresses: addresses() }, (signed) => self.sign(signed));
      this.#lastFailure = undefined;
      return bytes;
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#lastFailure) this.#options.warn?.(`discovery: nothing is announced: ${message}`);
      this.#lastFailure = message;
      return undefined;
    }
  }

  /** The CA that signed our certificate, of all that are trusted now. */
  #authorityOf(identity: Identity): Uint8Array {
    if (this.#authority?.identity === identity) return this.#authority.der;
    const { authorities } = new Trust(identity.credentials.caPem);
    const leaf = readCertificate(identity.certificate);
    const signer = authorities.find(({ certificate }) => leaf.verify(certificate.publicKey));
    if (!signer) throw new Error("the coordinator's certificate is not signed by a CA it trusts");
    this.#authority = { identity, der: derOf(signer.pem) };
    return this.#authority.der;
  }

  #received(bytes: Uint8Array, from: string, answer: (bytes: Uint8Array) => void): void {
    const datagram = parseDatagram(bytes);
    const current = this.#current;
    if (this.#isClosed || !current || datagram?.kind !== "probe") return;
    if (datagram.meshId !== this.#options.identity().meshId) return;
    const isFair = bytes.length >= current.length && this.#lan?.isOnLink(from);
    if (isFair && this.#answers.take(from, this.#options.clock.now())) {
      this.answered++;
      answer(current);
    } else this.unanswered++;
  }
}
