// What may work between two nodes, by what is known of the routers before them.
import { hostOf, isLoopback } from "../ip-address.ts";
import type { Mapping } from "../rendezvous/bodies.ts";
import { outsideHost } from "./candidates.ts";

/** One side of a pair that was introduced. */
export interface Side {
  candidates: readonly string[];
  mapping: Mapping;
}

/**
 * plain: each sends to all addresses of the other. nearby: the same, but only addresses inside may answer. open-ports: this
 * side's router gives another port for each target, so it opens many; guess-ports: the other's does, and this side tries many.
 */
export type Method = "plain" | "nearby" | "open-ports" | "guess-ports";

/** Time that a method is worth, in milliseconds. */
export const WORTH_MS: Record<Method, number> = {
  plain: 3_000,
  nearby: 1_000,
  "open-ports": 10_000,
  "guess-ports": 10_000,
};

/** A method, or why there is none. */
export function prospectsOf(own: Side, other: Side): { method: Method } | { why: string } {
  const why = obstacle(own.mapping, other.mapping);
  if (why !== undefined) return areNearby(own, other) ? { method: "nearby" } : { why };
  if (own.mapping === "dependent") return { method: "open-ports" };
  return { method: other.mapping === "dependent" ? "guess-ports" : "plain" };
}

function obstacle(own: Mapping, other: Mapping): string | undefined {
  if (own === "blocked") return "no UDP packet of this machine gets an answer from outside";
  if (other === "blocked") return "no UDP packet of the other machine gets an answer from outside";
  if (own !== "dependent" || other !== "dependent") return undefined;
  return "the routers of both give another port to each target (symmetric NAT), so that neither can know the other's";
}

/** Whether something besides the way through the routers may lead from one to the other: one router, one network, or IPv6. */
function areNearby(own: Side, other: Side): boolean {
  const [outside, others] = [translatedHost(own), translatedHost(other)];
  if (outside !== undefined && outside === others) return true;
  // An address that both have is no way from one to the other: bridges of containers have the same everywhere.
  return insideHosts(own).some((host) =>
    insideHosts(other).some((there) => there !== host && networkOf(there) === networkOf(host)),
  );
}

function translatedHost({ candidates, mapping }: Side): string | undefined {
  return mapping === "dependent" || mapping === "independent" ? outsideHost(candidates) : undefined;
}

function insideHosts(side: Side): string[] {
  const outside = translatedHost(side);
  return side.candidates.map(hostOf).filter((host) => host !== outside);
}

/** What two addresses share that probably reach each other. */
function networkOf(host: string): string {
  if (isLoopback(host)) return "loopback";
  if (!host.includes(":")) return host.split(".").slice(0, 3).join(".");
  return /^[23]/.test(host) ? "internet by IPv6" : host.split(":").slice(0, 4).join(":");
}
