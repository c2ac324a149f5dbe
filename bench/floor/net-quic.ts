// The floor of UDP: a bare stream of node:quic, bytes without frames, as many bytes at a time as it is best with.
// `net-quic.ts WORKLOAD` prints the figure; with BENCH_CONGESTION=bbr that of another control of congestion than the runtime's own choice.
import { createPrivateKey } from "node:crypto";
import { connect, listen, QuicEndpoint, type QuicStream } from "node:quic";
import type { Credentials } from "../../core/identity/identity.ts";
import {
  behind,
  handed,
  NET_WORKLOADS,
  type NetWorkload,
  openRouter,
  PORTS,
  printRounds,
  startAnswerer,
  tell,
  twoCredentials,
} from "../net-rounds.ts";

const [workload, role] = process.argv.slice(2) as [NetWorkload, string | undefined];
const { bytes, count } = NET_WORKLOADS[workload];
const isRoundTrip = workload === "round-trip";
const CHUNK_BYTES = 64 * 1024;
const HIGH_WATER_BYTES = 128 * 1024;
const WINDOW_BYTES = 8 * 1024 * 1024;
const windows = { initialMaxStreamDataBidiLocal: WINDOW_BYTES, initialMaxStreamDataBidiRemote: WINDOW_BYTES };
const congestion =
  process.env.BENCH_CONGESTION === "bbr"
    ? {
        cc: "bbr" as const,
        maxStreamWindow: WINDOW_BYTES,
        maxWindow: 2 * WINDOW_BYTES,
        transportParams: { ...windows, initialMaxData: 2 * WINDOW_BYTES },
      }
    : {};

async function answer(): Promise<void> {
  const { certificatePem, keyPem } = await handed<Credentials>();
  const wanted = isRoundTrip ? bytes : bytes * count;
  const reply = new Uint8Array(isRoundTrip ? bytes : 1);
  if (behind) await openRouter("answerer");
  const endpoint = new QuicEndpoint({ address: behind ? `0.0.0.0:${PORTS.answerer}` : "127.0.0.1:0" });
  await listen(
    (session) => {
      session.onerror = () => process.exit();
      session.closed.catch(() => process.exit());
      session.onstream = async (stream) => {
        let got = 0;
        for await (const chunks of stream) {
          for (const chunk of chunks) got += chunk.length;
          for (; got >= wanted; got -= wanted) stream.writer.writeSync(reply);
        }
      };
    },
    {
      endpoint,
      ...congestion,
      alpn: ["bench"],
      sni: { "*": { keys: [createPrivateKey(keyPem)], certs: [Buffer.from(certificatePem)] } },
    },
  );
  tell(String(endpoint.address!.port));
}

/** Writes all of `total` bytes. */
async function write(stream: QuicStream, chunk: Uint8Array, total: number): Promise<void> {
  const writer = stream.writer as typeof stream.writer & Record<symbol, () => Promise<unknown> | null>;
  for (let left = total; left > 0; ) {
    if (writer.writeSync(chunk.subarray(0, left))) left -= Math.min(left, chunk.length);
    else await writer[Symbol.for("Stream.drainableProtocol")]!();
  }
}

async function measure(): Promise<void> {
  const [own, other] = await twoCredentials();
  using answerer = await startAnswerer(import.meta.path, [workload, "answer"], other);
  if (behind) await openRouter("measurer");
  const endpoint = new QuicEndpoint({ address: behind ? `0.0.0.0:${PORTS.measurer}` : "127.0.0.1:0" });
  const session = await connect(`${behind?.answerer ?? "127.0.0.1"}:${answerer.told}`, {
    endpoint,
    ...congestion,
    alpn: "bench",
    servername: "mesh",
    ca: [Buffer.from(own.caPem)],
    verifyPeer: "strict",
  });
  await session.opened;
  const stream = await session.createBidirectionalStream({ highWaterMark: HIGH_WATER_BYTES });
  const chunk = new Uint8Array(isRoundTrip ? bytes : CHUNK_BYTES).fill(7);
  let answers = 0;
  let over = () => {};
  void (async () => {
    for await (const _ of stream) {
      answers++;
      if (!isRoundTrip || answers === count) over();
      else stream.writer.writeSync(chunk);
    }
  })();
  await printRounds(workload, async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    over = resolve;
    answers = 0;
    await write(stream, chunk, isRoundTrip ? bytes : bytes * count);
    await promise;
  });
  answerer[Symbol.dispose]();
  process.exit();
}

if (role === "answer") await answer();
else await measure();
