// A stream that holds what goes through it to a rate.
import { Transform } from "node:stream";
import type { Clock, Timer } from "../clock.ts";
import type { ByteRate } from "./byte-rate.ts";

/** Several may share a rate. */
export function pacedStream(rate: ByteRate, clock: Clock): Transform {
  let timer: Timer | undefined;
  return new Transform({
    transform(bytes: Uint8Array, _, done) {
      const waitMs = rate.spend(bytes.length, clock.now());
      if (waitMs === 0) return done(null, bytes);
      timer = clock.after(waitMs, () => done(null, bytes));
    },
    destroy(error, done) {
      timer?.cancel();
      done(error);
    },
  });
}
