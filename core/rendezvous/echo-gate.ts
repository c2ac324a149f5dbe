// Which packets a rendezvous answers: echoes that a member signed, not too many of them, none twice from different places. All
// else is dropped without a word. What costs least is asked first. Pure: the time is handed in.
import { plainIp } from "../ip-address.ts";
import { RateLimit } from "../rate-limit.ts";
import { encodeEchoAnswer, isEchoRequest, isEchoSigned, readEchoRequest } from "./echo.ts";
import type { Member, Members } from "./members.ts";

/**
 * Codes that are looked at in a second, about 1 us each: of a member from one address, and of a member. A node that meets 100
 * others at once sends some 600 echoes; who has overheard its id and sends garbage from elsewhere does not keep it from that.
 */
const CHECKS = { each: 1_000, all: 20_000 };
const MEMBER_CHECKS = { each: 5_000, all: 20_000 };

/** How often packets were dropped, and why. */
export interface DroppedEchoes {
  /** No request of this version. */
  malformed: number;
  /** Of nobody who has a session here. */
  unknown: number;
  /** Over the limit of checks. */
  unchecked: number;
  /** Not signed with the member's key. */
  forged: number;
  /** Sent before from another address. */
  replayed: number;
}

export interface Echo {
  member: Member;
  answer: Uint8Array;
  fromOtherPort: boolean;
}

export class EchoGate {
  readonly dropped: DroppedEchoes = { malformed: 0, unknown: 0, unchecked: 0, forged: 0, replayed: 0 };
  answered = 0;
  readonly #members: Members;
  readonly #checks = new RateLimit(CHECKS);
  readonly #memberChecks = new RateLimit(MEMBER_CHECKS);

  constructor(members: Members) {
    this.#members = members;
  }

  /** What to answer that packet with, if anything. `from` may be an IPv4 address as IPv6; `now` is monotonic. */
  take(bytes: Uint8Array, from: string, port: number, now: number): Echo | undefined {
    if (!isEchoRequest(bytes)) return this.#drop("malformed");
    const { id, transaction, fromOtherPort } = readEchoRequest(bytes);
    const member = this.#members.named(id);
    if (!member) return this.#drop("unknown");
    const host = plainIp(from);
    if (!this.#mayCheck(String(member.node), host, now)) return this.#drop("unchecked");
    if (!isEchoSigned(bytes, member.key)) return this.#drop("forged");
    if (!member.sentFrom(host, port, transaction)) return this.#drop("replayed");
    this.answered++;
    const answer = encodeEchoAnswer({ transaction, host, port, fromOtherPort }, member.key);
    return { member, answer, fromOtherPort };
  }

  #mayCheck(node: string, host: string, now: number): boolean {
    return this.#checks.take(`${node} ${host}`, now) && this.#memberChecks.take(node, now);
  }

  #drop(why: keyof DroppedEchoes): undefined {
    this.dropped[why]++;
  }
}
