// The floor of the network: bare Bun sockets, bytes without frames, written 64 KiB at a time where messages are small.
// `net-sockets.ts WORKLOAD tcp|tls` prints the figure.
import type { Credentials } from "../../core/identity/identity.ts";
import {
  handed,
  NET_WORKLOADS,
  type NetWorkload,
  printRounds,
  startAnswerer,
  tell,
  twoCredentials,
} from "../net-rounds.ts";

const [workload, kind, role] = process.argv.slice(2) as [NetWorkload, "tcp" | "tls", string | undefined];
const { bytes, count } = NET_WORKLOADS[workload];
const isRoundTrip = workload === "round-trip";
const CORK_BYTES = 64 * 1024;

const tlsOf = ({ caPem: ca, certificatePem: cert, keyPem: key }: Credentials) =>
  kind === "tls" && { tls: { ca, cert, key, serverName: "mesh", requestCert: true, rejectUnauthorized: true } };

async function answer(): Promise<void> {
  const credentials = await handed<Credentials>();
  const wanted = isRoundTrip ? bytes : bytes * count;
  const reply = new Uint8Array(isRoundTrip ? bytes : 1);
  let got = 0;
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    ...tlsOf(credentials),
    socket: {
      binaryType: "uint8array",
      data(socket, chunk) {
        for (got += chunk.length; got >= wanted; got -= wanted) socket.write(reply);
      },
      close: () => process.exit(),
    },
  });
  tell(String(server.port));
}

async function measure(): Promise<void> {
  const [own, other] = await twoCredentials();
  using answerer = await startAnswerer(import.meta.path, [workload, kind, "answer"], other);
  const message = new Uint8Array(isRoundTrip ? bytes : Math.max(CORK_BYTES, bytes)).fill(7);
  const total = bytes * count;
  let left = 0;
  let answers = 0;
  let over = () => {};
  const pump = (socket: Bun.Socket) => {
    while (left > 0) {
      const offset = (total - left) % message.length;
      const part = Math.min(left, message.length - offset);
      const taken = socket.write(message, offset, part);
      left -= Math.max(0, taken);
      if (taken < part) return;
    }
  };
  const ready = Promise.withResolvers<Bun.Socket>();
  const socket = await Bun.connect({
    hostname: "127.0.0.1",
    port: Number(answerer.told),
    ...tlsOf(own),
    socket: {
      binaryType: "uint8array",
      open: (opened) => {
        if (kind === "tcp") ready.resolve(opened);
      },
      handshake: (opened) => ready.resolve(opened),
      data: (opened) => {
        answers++;
        if (!isRoundTrip || answers === count) over();
        else opened.write(message);
      },
      drain: pump,
    },
  });
  await ready.promise;
  socket.setNoDelay(true);
  await printRounds(workload, async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    over = resolve;
    answers = 0;
    left = total;
    if (isRoundTrip) socket.write(message);
    else pump(socket);
    await promise;
  });
  socket.terminate();
}

if (role === "answer") await answer();
else await measure();
