/** Smaller numbers are kept for tests and examples of PROTOCOL.md. */
const FIRST_NUMBER = 16;

/**
 * A number for a node: random, so that it needs no one to hand it out, and another after each start, so that nothing meant
 * for the process before reaches the next. Among 300 nodes two are the same once in 100,000 meshes; the coordinator
 * then refuses the second.
 */
export function newNodeNumber(): number {
  const [random] = crypto.getRandomValues(new Uint32Array(1));
  return FIRST_NUMBER + Math.floor((random! / 2 ** 32) * (2 ** 32 - FIRST_NUMBER));
}
