// Asks rendezvous where packets come from: (event, now) -> packets to send. Knows time as a number that is handed in.
import { hostAndPort } from "../ip-address.ts";
import { encodeEchoRequest, readEchoAnswer } from "../rendezvous/echo.ts";
import type { EchoPlace } from "./hole.ts";
import type { Seen } from "./mapping.ts";
import { remoteOf } from "./remote.ts";

/** Milliseconds after which a question is asked again; the last one again and again. */
const AGAIN_MS = [50, 100];

/**
 * Once one place has told all it can, the others have so long, or so many round trips to that one: little where it sees a NAT
 * before this machine, as no other could tell more.
 */
const GRACE = { outside: { ms: 20, roundTrips: 0.5 }, inside: { ms: 100, roundTrips: 3 } };

export interface Question {
  place: EchoPlace;
  port: number;
  /** Whether the answer shall come from the place's other port. */
  fromOtherPort: boolean;
  /** 8 random bytes. */
  transaction: Uint8Array;
}

interface Asked {
  question: Question;
  to: string;
  bytes: Uint8Array;
  answer?: { seen: string; roundTripMs: number };
}

/** A packet to send. */
export interface Outgoing {
  to: string;
  bytes: Uint8Array;
}

export class EchoAsker {
  readonly #asked: Asked[];
  readonly #limitMs: number;
  readonly #own: readonly string[];
  readonly #beganAt: number;
  #sentAt: number;
  #rounds = 0;
  #askAt: number;
  #graceAt = Number.POSITIVE_INFINITY;

  /** `own`: the port at this machine's addresses. */
  constructor(
    questions: readonly Question[],
    { limitMs, own }: { limitMs: number; own: readonly string[] },
    now: number,
  ) {
    this.#asked = questions.map((question) => {
      const { place, port, fromOtherPort, transaction } = question;
      const bytes = encodeEchoRequest({ id: place.id, transaction, fromOtherPort }, place.key);
      return { question, to: hostAndPort(place.host, port), bytes };
    });
    this.#limitMs = limitMs;
    this.#own = own;
    this.#beganAt = now;
    this.#askAt = now;
    this.#sentAt = now;
  }

  /** What was told so far. */
  get answers(): Seen[] {
    return this.#asked.flatMap(({ to, answer }) => (answer ? [{ by: to, seen: answer.seen }] : []));
  }

  /** Whether that question was answered. */
  isAnswered(question: Question): boolean {
    return this.#asked.some((asked) => asked.question === question && asked.answer !== undefined);
  }

  /** Of the nearest place, if any has answered. */
  get roundTripMs(): number | undefined {
    const all = this.#asked.flatMap(({ answer }) => (answer ? [answer.roundTripMs] : []));
    return all.length > 0 ? Math.min(...all) : undefined;
  }

  isDone(now: number): boolean {
    const endAt = Math.min(this.#beganAt + this.#limitMs, this.#graceAt);
    return now >= endAt || this.#asked.every(({ answer }) => answer);
  }

  /** When to tick next, unless it is done before. */
  get wakeAt(): number {
    return Math.min(this.#askAt, this.#beganAt + this.#limitMs, this.#graceAt);
  }

  tick(now: number): Outgoing[] {
    if (now < this.#askAt || this.isDone(now)) return [];
    this.#sentAt = now;
    this.#askAt = now + AGAIN_MS[Math.min(this.#rounds++, AGAIN_MS.length - 1)]!;
    return this.#asked.filter(({ answer }) => !answer).map(({ to, bytes }) => ({ to, bytes }));
  }

  /** Believes what a place has signed, and nothing else. */
  received(bytes: Uint8Array, now: number): void {
    for (const asked of this.#asked) {
      if (asked.answer) continue;
      const { place, transaction } = asked.question;
      const told = readEchoAnswer(bytes, place.key);
      if (!told || !Buffer.from(told.transaction).equals(transaction)) continue;
      // Of the last time it was asked: shorter than the truth where an earlier one was answered.
      asked.answer = { seen: remoteOf(told.host, told.port), roundTripMs: now - this.#sentAt };
      this.#settle(asked.question.place, now);
    }
  }

  #settle(place: EchoPlace, now: number): void {
    const ofPlace = this.#asked.filter(({ question }) => question.place === place);
    if (!ofPlace.every(({ answer }) => answer)) return;
    const isOutside = ofPlace.every(({ answer }) => !answer!.seen.startsWith("[") && !this.#own.includes(answer!.seen));
    const { ms, roundTrips } = isOutside ? GRACE.outside : GRACE.inside;
    const longest = Math.max(...ofPlace.map(({ answer }) => answer!.roundTripMs));
    this.#graceAt = Math.min(this.#graceAt, now + Math.max(ms, roundTrips * longest));
  }
}
