// Asks rendezvous from real ports where their packets come from, and what that says of the routers between.
import { randomBytes } from "node:crypto";
import { systemClock } from "../clock.ts";
import { hostAndPort, isLoopback } from "../ip-address.ts";
import type { Mapping } from "../rendezvous/bodies.ts";
import { TRANSACTION_BYTES } from "../rendezvous/echo.ts";
import { candidatesOf, ownHosts } from "./candidates.ts";
import { EchoAsker, type Question } from "./echo-asker.ts";
import type { EchoPlace, TryOptions } from "./hole.ts";
import { judgeMapping } from "./mapping.ts";
import { RawPort } from "./raw-port.ts";
import { runUntil } from "./run.ts";

/** "open": packets come in from places to which none was sent. "restricted": they do not. */
export type Filtering = "open" | "restricted" | "unknown";

export interface NatKind {
  mapping: Mapping;
  filtering: Filtering;
  /** Where this machine's packets were seen to come from; one for each port and place that answered. */
  outside: string[];
}

/** What echoes say of a port of this machine. */
export interface PortKind {
  candidates: string[];
  mapping: Mapping;
  /** Where its packets were seen to come from. */
  outside: string[];
  /** To the nearest place. */
  roundTripMs: number | undefined;
}

/** Asks all ports of all places. Throws CANCELLED. */
export async function kindOfPort(port: RawPort, places: readonly EchoPlace[], options: TryOptions): Promise<PortKind> {
  const questions = places.flatMap((place) => place.ports.map((each) => question(place, each, false)));
  const hosts = ownHosts();
  const own = hosts.map((host) => hostAndPort(host, port.number));
  const { answers, roundTripMs } = await ask(port, questions, own, options);
  const outside = [...new Set(answers.map(({ seen }) => seen))];
  const mapping = judgeMapping(answers, own, questions.length);
  return { candidates: candidatesOf(port.number, hosts, outside), mapping, outside, roundTripMs };
}

/**
 * Finds out what the routers before this machine do with UDP, as far as two ports of one place tell (RFC 4787); takes up to
 * `limitMs`, 1,500 is enough. Throws CANCELLED, and UNREACHABLE when no port can be opened.
 */
export async function examineNat(places: readonly EchoPlace[], options: TryOptions): Promise<NatKind> {
  using first = await RawPort.open();
  using second = await RawPort.open();
  const [{ mapping, outside }, filtering] = await Promise.all([
    kindOfPort(first, places, options),
    filteringOf(second, places, options),
  ]);
  return { mapping, filtering, outside };
}

/** Its port sends to one port of a place alone, and asks for an answer from the other one. */
async function filteringOf(port: RawPort, places: readonly EchoPlace[], options: TryOptions): Promise<Filtering> {
  const place = places.find(({ host, ports }) => ports.length > 1 && !isLoopback(host));
  if (!place) return "unknown";
  const plain = question(place, place.ports[0]!, false);
  const fromOther = question(place, place.ports[0]!, true);
  const asker = await ask(port, [plain, fromOther], [], options);
  if (asker.isAnswered(fromOther)) return "open";
  return asker.isAnswered(plain) ? "restricted" : "unknown";
}

async function ask(
  port: RawPort,
  questions: Question[],
  own: readonly string[],
  { signal, limitMs }: TryOptions,
): Promise<EchoAsker> {
  const asker = new EchoAsker(questions, { limitMs, own }, systemClock.now());
  await runUntil<true>(systemClock, signal, (wake) => {
    port.received = (_from, bytes) => {
      asker.received(bytes, systemClock.now());
      wake();
    };
    return {
      tick: (now) => {
        for (const { to, bytes } of asker.tick(now)) port.send(to, bytes);
        return asker.isDone(now) ? true : undefined;
      },
      wakeAt: () => asker.wakeAt,
    };
  }).finally(() => {
    port.received = undefined;
  });
  return asker;
}

function question(place: EchoPlace, port: number, fromOtherPort: boolean): Question {
  return { place, port, fromOtherPort, transaction: randomBytes(TRANSACTION_BYTES) };
}
