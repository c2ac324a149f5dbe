// What many idle links cost who listens: `net-idle.ts COUNT` prints three numbers: KB for each link, ms for the 99th
// percentile of a ping over one of them, percent of a core while nothing is sent.
import type { Credentials } from "../core/identity/identity.ts";
import type { Link } from "../core/transport.ts";
import { TcpTransport } from "../transports/tcp/tcp-transport.ts";
import { handed, startAnswerer, tell, twoCredentials } from "./net-rounds.ts";

const [count = 0, role] = [Number(process.argv[2]), process.argv[3]];
const PINGS = 5_000;
const IDLE_MS = 3_000;
/** Twice as many may be in TLS at a time: who dials is done before who listens, which admits 64 from one address. */
const AT_ONCE = 25;
const ASK_MEMORY = 1;
const ASK_CPU = 2;

/** Echoes pings; says in 8 bytes how much memory or CPU it has used when asked. */
function answer(link: Link): void {
  link.attach({
    frame: (frame) => {
      if (frame.length !== 1) {
        link.send(frame);
        return;
      }
      if (frame[0] === ASK_MEMORY) Bun.gc(true);
      const { user, system } = process.cpuUsage();
      const value = frame[0] === ASK_MEMORY ? process.memoryUsage.rss() : user + system;
      link.send(new Uint8Array(new Float64Array([value]).buffer));
    },
    drained: () => {},
    closed: () => process.exit(),
  });
}

async function measure(): Promise<void> {
  const [own, other] = await twoCredentials();
  using answerer = await startAnswerer(import.meta.path, [String(count), "answer"], other);
  const transport = new TcpTransport({ credentials: () => own });
  const link = await transport.dial(answerer.told);
  let answered = (_: Uint8Array) => {};
  link.attach({ frame: (frame) => answered(frame.slice()), drained: () => {}, closed: () => {} });
  const ask = (frame: Uint8Array) =>
    new Promise<Uint8Array>((resolve) => {
      answered = resolve;
      link.send(frame);
    });
  const figure = async (what: number) => new Float64Array((await ask(new Uint8Array([what]))).buffer)[0]!;

  const before = await figure(ASK_MEMORY);
  for (let made = 0; made < count; made += AT_ONCE) {
    await Promise.all(Array.from({ length: AT_ONCE }, () => transport.dial(answerer.told)));
  }
  const kbEach = ((await figure(ASK_MEMORY)) - before) / count / 1_000;
  const pings: number[] = [];
  for (let ping = 0; ping < PINGS; ping++) {
    const start = performance.now();
    await ask(new Uint8Array(64));
    pings.push(performance.now() - start);
  }
  const cpuBefore = await figure(ASK_CPU);
  await Bun.sleep(IDLE_MS);
  const cpuPercent = ((await figure(ASK_CPU)) - cpuBefore) / (IDLE_MS * 10);
  const p99 = pings.sort((a, b) => a - b)[Math.floor(PINGS * 0.99)]!;
  console.log([kbEach, p99, cpuPercent].join(" "));
  process.exit();
}

if (role === "answer") {
  const credentials = await handed<Credentials>();
  const transport = new TcpTransport({ credentials: () => credentials });
  tell((await transport.listen("tcp://127.0.0.1:0", answer)).address);
} else {
  await measure();
}
