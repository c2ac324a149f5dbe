// Two streams that become one: what comes from either goes to the other, no faster than that takes it.
import type { Duplex } from "node:stream";

/**
 * Resolves when both are over. An end passes on as an end, so either way may end before the other; a break breaks both. `through`
 * makes what the bytes of one way go through besides.
 */
export function splice(a: Duplex, b: Duplex, through?: () => Duplex): Promise<void> {
  const over = Promise.all([passOn(a, b, through?.()), passOn(b, a, through?.())]);
  return over.then(() => {});
}

/** Resolves when `from` is closed. */
function passOn(from: Duplex, to: Duplex, through: Duplex | undefined): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const breakOff = () => {
    through?.destroy();
    to.destroy();
  };
  from.on("error", () => {}); // it closes, too
  from.once("close", () => {
    if (!from.readableEnded || !from.writableFinished) breakOff();
    resolve();
  });
  if (from.destroyed) {
    breakOff();
    resolve();
  } else (through ? from.pipe(through) : from).pipe(to);
  return promise;
}
