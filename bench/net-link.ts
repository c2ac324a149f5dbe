// A transport's links, two processes: `net-link.ts WORKLOAD tcp|udp` prints the figure.
import type { Credentials } from "../core/identity/identity.ts";
import type { Link } from "../core/transport.ts";
import { builtinTransports } from "../transports/builtin.ts";
import {
  handed,
  NET_WORKLOADS,
  type NetWorkload,
  printRounds,
  startAnswerer,
  tell,
  twoCredentials,
} from "./net-rounds.ts";

const [workload, way, role] = process.argv.slice(2) as [NetWorkload, "tcp" | "udp", string | undefined];
const { bytes, count } = NET_WORKLOADS[workload];
const isRoundTrip = workload === "round-trip";

function answer(link: Link): void {
  let frames = 0;
  const answerEach = isRoundTrip ? 1 : count;
  const reply = new Uint8Array(isRoundTrip ? bytes : 1);
  const taken = () => {
    if (++frames % answerEach === 0) link.send(reply);
  };
  link.attach({ frame: taken, span: taken, drained: () => {}, closed: () => process.exit() });
}

async function measure(): Promise<void> {
  const [own, other] = await twoCredentials();
  using answerer = await startAnswerer(import.meta.path, [workload, way, "answer"], other);
  const link = await builtinTransports[way]({ credentials: () => own }).dial(answerer.told);
  const message = new Uint8Array(bytes).fill(7);
  let sent = 0;
  let answers = 0;
  let over = () => {};
  const ended = Promise.withResolvers<void>();
  const pump = () => {
    while (sent < count) {
      sent++;
      if (!link.send(message)) return;
    }
  };
  const answered = () => {
    answers++;
    if (!isRoundTrip || answers === count) over();
    else link.send(message);
  };
  link.attach({ frame: answered, span: answered, drained: pump, closed: () => ended.resolve() });
  await printRounds(workload, async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    over = resolve;
    answers = 0;
    sent = 0;
    if (isRoundTrip) link.send(message);
    else pump();
    await promise;
  });
  link.close();
  await ended.promise;
}

if (role === "answer") {
  const credentials = await handed<Credentials>();
  const transport = builtinTransports[way]({ credentials: () => credentials });
  tell((await transport.listen(`${way}://127.0.0.1:0`, answer)).address);
} else {
  await measure();
}
