// Two nodes of a mesh with a session over TCP or UDP: `net-node.ts WORKLOAD tcp|udp` prints the figure. Messages go from node to node, as
// any job's do.
import { systemClock } from "../core/clock.ts";
import { type Credentials, identityFrom } from "../core/identity/identity.ts";
import { Trust } from "../core/identity/trust.ts";
import { sessionsOf } from "../core/member/sessions.ts";
import { Node } from "../core/node/node.ts";
import type { Peers } from "../core/session/peers.ts";
import type { Transport } from "../core/transport.ts";
import { Codec } from "../core/wire/codec.ts";
import type { Address } from "../core/wire/message.ts";
import { MessageType } from "../core/wire/message-types.ts";
import { builtinTransports } from "../transports/builtin.ts";
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
} from "./net-rounds.ts";

const [workload, way, role] = process.argv.slice(2) as [NetWorkload, "tcp" | "udp", string | undefined];
const { bytes, count } = NET_WORKLOADS[workload];
const isRoundTrip = workload === "round-trip";
const TYPE = MessageType.run;
const LEFT: Address = { node: 16, slot: 0 };
const RIGHT: Address = { node: 17, slot: 0 };

function nodeWith(credentials: Credentials, address: Address): { node: Node; peers: Peers; transport: Transport } {
  const node = new Node(address, new Codec());
  node.hold();
  const transport = builtinTransports[way]({ credentials: () => credentials });
  const identity = identityFrom(credentials);
  const peers = sessionsOf({
    node,
    identity: () => identity,
    trust: new Trust(credentials.caPem),
    transport,
    build: "bench",
    timing: {},
    clock: systemClock,
    addresses: () => [],
  });
  return { node, peers, transport };
}

async function answer(): Promise<void> {
  const { node, peers, transport } = nodeWith(await handed<Credentials>(), RIGHT);
  let messages = 0;
  const answerEach = isRoundTrip ? 1 : count;
  node.onPeerLost = () => process.exit();
  node.handle(TYPE, () => {
    if (++messages % answerEach === 0) reply();
  });
  const reply = () => void node.sendDraft(LEFT, TYPE, 0, 0, node.draft(isRoundTrip ? bytes : 1));
  if (behind) await openRouter("answerer");
  const place = behind ? `0.0.0.0:${PORTS.answerer}` : "127.0.0.1:0";
  tell((await transport.listen(`${way}://${place}`, (link) => peers.accept(link))).address);
}

async function measure(): Promise<void> {
  const [own, other] = await twoCredentials();
  using answerer = await startAnswerer(import.meta.path, [workload, way, "answer"], other);
  const { node, peers, transport } = nodeWith(own, LEFT);
  let address = answerer.told;
  if (behind) {
    await openRouter("measurer");
    await transport.listen(`udp://0.0.0.0:${PORTS.measurer}`, (link) => peers.accept(link));
    address = `punch://${behind.answerer}:${PORTS.answerer}?from=${PORTS.measurer}`;
  }
  await peers.connect([address], { node: RIGHT.node });
  const large = new Uint8Array(bytes).fill(7);
  let sent = 0;
  let answers = 0;
  let over = () => {};
  const send = () =>
    bytes > 1024 ? node.send(RIGHT, TYPE, 0, 0, large) : node.sendDraft(RIGHT, TYPE, 0, 0, node.draft(bytes));
  const pump = () => {
    while (sent < count) {
      sent++;
      if (!send()) return;
    }
  };
  node.onDrained = pump;
  node.handle(TYPE, () => {
    answers++;
    if (!isRoundTrip || answers === count) over();
    else send();
  });
  await printRounds(workload, async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    over = resolve;
    answers = 0;
    sent = 0;
    if (isRoundTrip) send();
    else pump();
    await promise;
  });
  await peers.close();
  process.exit();
}

if (role === "answer") await answer();
else await measure();
