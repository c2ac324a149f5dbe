// Two streams that become one: what comes from either goes to the other, no faster than that takes it.
import type { Duplex } from "node:stream";

/** Resolves when both are over. An end passes on as an end, so either way may end before the other; a break breaks both. */
export function splice(a: Duplex, b: Duplex): Promise<void> {
  const over = Promise.all([passOn(a, b), passOn(b, a)]);
  return over.then(() => {});
}

/** Resolves when `from` is closed. */
function passOn(from: Duplex, to: Duplex): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  from.on("error", () => {}); // it closes, too
  from.once("close", () => {
    if (!from.readableEnded || !from.writableFinished) to.destroy();
    resolve();
  });
  if (from.destroyed) {
    to.destroy();
    resolve();
  } else from.pipe(to);
  return promise;
}
