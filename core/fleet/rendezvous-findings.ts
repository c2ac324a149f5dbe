// Whether the nodes of a mesh reach a rendezvous, which each of them keeps a session with, in words for people with the fix. Pure.
import type { NodeStatus } from "../coordinator/answers.ts";
import type { Finding } from "../provider.ts";

const NAMED = 5;

/** Which nodes do not reach it, as they tell. */
export function reachFinding({ name, addresses }: NodeStatus, nodes: readonly NodeStatus[]): Finding {
  const check = "reach";
  const asked = nodes.filter(({ role, state }) => state === "up" && (role === "worker" || role === "head"));
  const without = asked.filter(({ peers }) => !peers.some((peer) => peer.name === name && peer.state === "up"));
  if (asked.length === 0) return { check, state: "skipped", words: "no node is there that could meet another one" };
  if (without.length === 0) return { check, state: "ok", words: "all other nodes have a session with it" };
  const names = without.slice(0, NAMED).map((node) => node.name);
  const more = without.length > NAMED ? ` and ${without.length - NAMED} more` : "";
  const words = `${without.length} of ${asked.length} nodes have no session with it: ${names.join(", ")}${more}`;
  return { check, state: "warning", words, fix: dialFix(addresses) };
}

/** Why that node has no straight path to a rendezvous: nobody is there by whom the two could meet. */
export function mustDialFinding(from: string, { name, addresses }: NodeStatus, hasPath: boolean): Finding {
  const words = `${name} is a rendezvous, which has to be dialed, and ${from} does not get through to it`;
  const finding = { check: "reach", words, fix: dialFix(addresses) };
  return hasPath ? { ...finding, state: "warning" } : { ...finding, state: "problem", code: "UNREACHABLE" };
}

function dialFix(addresses: readonly string[]): string {
  const where = addresses.filter((address) => !/\/\/(127\.|\[::1\])/.test(address)).join(", ");
  return `let them through to ${where || "it"}; where a router forwards a port to it, say so by advertise of [rendezvous] or --advertise`;
}
