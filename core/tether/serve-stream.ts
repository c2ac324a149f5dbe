// One stream out of a tunnel: the host says where it wants to go, is connected, and has the connection from then on.
import type { Duplex } from "node:stream";
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import { splice } from "./splice.ts";
import { ACCEPTED_LINE, LineReader, readAsk, refusalLine } from "./tunnel-words.ts";

/** A stream that has not asked by then is ended. */
const ASK_LIMIT_MS = 10_000;

/** Connects to an address such as "tcp://10.0.0.1:7450". Rejects with what the host is to be told. */
export type Reach = (address: string) => Promise<Duplex>;

/** Resolves when the stream is over. Never rejects. */
export async function serveStream(stream: Duplex, reach: Reach, clock: Clock): Promise<void> {
  let far: Duplex | undefined;
  stream.on("error", () => {}); // it closes, too
  try {
    const { address, rest } = await asked(stream, clock);
    far = await reach(address);
    if (rest.length > 0) far.write(rest);
    stream.write(ACCEPTED_LINE);
    await splice(stream, far);
  } catch (error) {
    far?.destroy();
    if (!stream.destroyed) stream.end(refusalLine(error));
    stream.resume(); // or its end is never heard
  }
}

function asked(stream: Duplex, clock: Clock): Promise<{ address: string; rest: Uint8Array }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ address: string; rest: Uint8Array }>();
  const reader = new LineReader();
  const timer = clock.after(ASK_LIMIT_MS, () => end(new MeshError("TIMEOUT", "nothing was asked for in time")));
  const gone = () => end(new MeshError("LINK_CLOSED", "the stream ended before it asked for anything"));
  const take = (bytes: Uint8Array) => {
    try {
      const read = reader.push(bytes);
      if (!read) return;
      stop();
      resolve({ address: readAsk(read.line), rest: read.rest });
    } catch (error) {
      end(error);
    }
  };
  const stop = () => {
    timer.cancel();
    stream.off("data", take).off("end", gone).off("close", gone);
    stream.pause();
  };
  const end = (error: unknown) => {
    stop();
    reject(error);
  };
  stream.on("data", take).on("end", gone).on("close", gone);
  return promise;
}
