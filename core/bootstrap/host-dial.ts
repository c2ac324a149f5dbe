// `mesh host`, asked by `mesh doctor` which addresses it can connect to from here.
import type { HostPort } from "./host-start.ts";
import type { HostWord, Order } from "./host-words.ts";

/** A node has a handful of addresses; a doctor asks about two nodes. */
const ADDRESS_LIMIT = 64;
const DIAL_LIMIT_MS = 5_000;

export async function dialAll(
  { addresses }: Extract<Order, { op: "dial" }>,
  { dial }: Pick<HostPort, "dial">,
): Promise<Extract<HostWord, { word: "dialed" }>> {
  const asked = addresses.slice(0, ADDRESS_LIMIT);
  return { word: "dialed", outcomes: await Promise.all(asked.map((address) => dial(address, DIAL_LIMIT_MS))) };
}
