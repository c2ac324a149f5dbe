// Slots of real processes that stop while they have nothing to do, under an agent in this process.
import { join } from "node:path";
import { expect, test } from "vitest";
import type { SlotDown, SlotInfo } from "../../core/api/scheduler.ts";
import { Node } from "../../core/node/node.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { Agent } from "../../core/worker/agent.ts";
import { NODE_SOCKET, nodeAddress } from "../../core/worker/control.ts";
import { becomeSubreaper } from "../../core/worker/libc.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { binary, kill, testFolder } from "../support/mesh.ts";
import { until } from "../support/until.ts";

const NODE = 77;
const JOB = 78;
const USER = 9_999;

test("F47 an idle slot that is stopped is ended and replaced, and its user told why; one beside it that answers stays", async () => {
  becomeSubreaper();
  using folder = testFolder({ "worker.js": "export {};" });
  const unix = new UnixTransport();
  const node = new Node(nodeAddress(NODE), new Codec());
  const notices: string[] = [];
  const agent = new Agent({
    node,
    folder: folder.path,
    slotCommand: [binary, "slot"],
    hostName: () => "w1",
    idleLimitMs: 2_500,
  });
  node.onPeerLost = (peer) => agent.slotDisconnected(peer);
  const listener = await unix.listen(join(folder.path, NODE_SOCKET), (link) =>
    node.accept(link, (slot) => agent.slotConnected(slot)),
  );
  const user = new Node({ node: NODE, slot: USER }, new Codec());
  const ups: SlotInfo[] = [];
  const downs: SlotDown[] = [];
  user.handle(MessageType.slotUp, ({ payload }) => ups.push(user.codec.decode(payload) as SlotInfo));
  user.handle(MessageType.slotDown, ({ payload }) => downs.push(user.codec.decode(payload) as SlotDown));
  user.join(await unix.dial(join(folder.path, NODE_SOCKET)), node.address);
  try {
    const job = agent.open(JOB, {
      output: async () => {},
      notice: (text) => notices.push(text),
      gone: () => {},
      view: () => ({ hosts: [], nodes: [] }),
    });
    const code = {
      job: JOB,
      number: 1,
      worker: join(folder.path, "worker.js"),
      script: "/job.ts",
      args: [],
      showsProgress: false,
    };
    job.start(code);
    await user.request(node.address, MessageType.acquireSlots, { job: JOB, seats: [1, 2] });
    await until(() => ups.length === 2, { what: "both slots" });
    const stopped = ups.find(({ seat }) => seat === 1)!;
    kill(stopped.pid!, "SIGSTOP");
    await until(() => ups.length === 3, { what: "another slot in its place" });
    expect(ups[2]).toMatchObject({ seat: 1 });
    expect(ups[2]!.pid).not.toBe(stopped.pid);
    expect(downs).toEqual([
      expect.objectContaining({
        slot: stopped.slot,
        final: false,
        cause: "was ended because it had nothing to do and did not answer for 2.5 s",
      }),
    ]);
    expect(notices).toEqual([`slot w1/1 ${downs[0]!.cause}; another takes its place`]);
  } finally {
    await agent.closeAll("the test is over");
    node.close();
    user.close();
    await listener.close();
  }
}, 20_000);
