// A stream that holds what goes through it to a rate.
import { Transform } from "node:stream";
import type { Clock, Timer } from "../clock.ts";
import type { ByteRate } from "./byte-rate.ts";

/**
 * So much passes at a time: of streams that share a rate none waits longer for another one than that takes, or a session's
 * heartbeats would come late behind its bulk.
 */
const SLICE_BYTES = 4 * 1024;

/** Several may share a rate. */
export function pacedStream(rate: ByteRate, clock: Clock): Transform {
  let timer: Timer | undefined;
  const stream = new Transform({
    transform: (bytes: Uint8Array, _, done) => pass(bytes, done),
    destroy(error, done) {
      timer?.cancel();
      done(error);
    },
  });
  const pass = (bytes: Uint8Array, done: () => void): void => {
    const slice = bytes.subarray(0, SLICE_BYTES);
    const go = () => {
      stream.push(slice);
      if (slice.length === bytes.length) done();
      else pass(bytes.subarray(slice.length), done);
    };
    const waitMs = rate.spend(slice.length, clock.now());
    if (waitMs === 0) go();
    else timer = clock.after(waitMs, go);
  };
  return stream;
}
