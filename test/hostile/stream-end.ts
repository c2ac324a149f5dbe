// One end of a session over TCP or UDP in a process of its own, for tests of what it needs: "receiver" listens, says where,
// and counts; "sender" sends as much as it was told, waiting whenever it is asked to. One line of JSON for each thing.
import { systemClock } from "../../core/clock.ts";
import { type Credentials, identityFrom } from "../../core/identity/identity.ts";
import { Trust } from "../../core/identity/trust.ts";
import { sessionsOf } from "../../core/member/sessions.ts";
import { Node } from "../../core/node/node.ts";
import { newNodeNumber } from "../../core/node/number.ts";
import type { Session } from "../../core/session/session.ts";
import { Codec } from "../../core/wire/codec.ts";
import { builtinTransports } from "../../transports/builtin.ts";

const FRAME_BYTES = 64 * 1024;
const DATA = 255;

const { role, credentials, address, bytes, lane, way } = JSON.parse(process.env.STREAM_END!) as {
  role: "sender" | "receiver";
  credentials: Credentials;
  address: string;
  bytes: number;
  lane: "main" | "bulk";
  way: "tcp" | "udp";
};

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const identity = identityFrom(credentials);
const transport = builtinTransports[way]({ credentials: () => credentials });
const peers = sessionsOf({
  node: Object.assign(new Node({ node: newNodeNumber(), slot: 0 }, new Codec()), { addNode: () => {} }),
  identity: () => identity,
  trust: new Trust(credentials.caPem),
  transport,
  build: "test",
  timing: { downAfterMs: 120_000 },
  clock: systemClock,
  addresses: () => [],
  begun: (session) => role === "receiver" && receive(session[lane], session[lane === "main" ? "bulk" : "main"]),
});

function receive(session: Session, other: Session): void {
  let frames = 0;
  other.attach({ frame: () => {}, drained: () => {}, closed: () => {} });
  session.attach({
    frame: (frame) => {
      const number = new DataView(frame.buffer, frame.byteOffset).getUint32(4);
      if (frame.length !== FRAME_BYTES || number !== frames || frame.at(-1) !== (number & 255)) say({ wrong: frames });
      frames++;
      if (frames % 64 === 0) say({ received: frames * FRAME_BYTES });
    },
    drained: () => {},
    closed: () => say({ closed: true }),
  });
}

async function send(): Promise<void> {
  const peer = await peers.connect([address], {});
  const session = peer[lane];
  let resume = () => {};
  peer[lane === "main" ? "bulk" : "main"].attach({ frame: () => {}, drained: () => {}, closed: () => {} });
  session.attach({ frame: () => {}, drained: () => resume(), closed: (error) => say({ closed: error?.message }) });
  const frame = new Uint8Array(FRAME_BYTES);
  frame[0] = DATA;
  for (let number = 0; number < bytes / FRAME_BYTES; number++) {
    new DataView(frame.buffer).setUint32(4, number);
    frame[FRAME_BYTES - 1] = number & 255;
    if (session.send(frame)) continue;
    say({ full: number * FRAME_BYTES });
    await new Promise<void>((next) => {
      resume = next;
    });
  }
  await peer.close();
  say({ done: true });
}

if (role === "sender") await send();
else say({ address: (await transport.listen(`${way}://127.0.0.1:0`, (link) => peers.accept(link))).address });
setInterval(() => {}, 60_000); // until it is killed
