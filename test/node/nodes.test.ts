// Nodes that know other nodes: roles, whose name a message may carry, large messages that hold nobody else up.
import { describe, expect, it } from "vitest";
import type { Node } from "../../core/node/node.ts";
import type { PeerRole } from "../../core/node/peer.ts";
import { Codec } from "../../core/wire/codec.ts";
import { type Address, FLAG_LAST, FLAG_MORE, FLAG_REQUEST } from "../../core/wire/message.ts";
import { MessageType, PROTOCOL_VERSION } from "../../core/wire/message-types.ts";
import { maySend } from "../../core/wire/permissions.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { connect, frameOf, nodeAt, RawEnd, settled, TEST_TYPE } from "./support.ts";

const HEAD: Address = { node: 21, slot: 0 };
const WORKER: Address = { node: 22, slot: 0 };
const SLOT: Address = { node: 22, slot: 1 };
const OTHER: Address = { node: 22, slot: 2 };
const PIECE = 256 * 1024;

const codec = new Codec();

/** Joins two nodes as a session would; returns both ends of its two lanes. */
function meet(a: Node, roleOfA: PeerRole, b: Node, roleOfB: PeerRole) {
  const [main, far] = memoryPair("main");
  const [bulk, farBulk] = memoryPair("bulk");
  a.addNode({ node: b.address.node, role: roleOfB, link: main, bulk });
  b.addNode({ node: a.address.node, role: roleOfA, link: far, bulk: farBulk });
  return { main, far, bulk, farBulk };
}

/** A head, and a worker with two slots. */
async function host() {
  const [head, worker, slot, other] = [nodeAt(HEAD), nodeAt(WORKER), nodeAt(SLOT), nodeAt(OTHER)];
  const links = meet(head, "head", worker, "worker");
  const [slotEnd] = await connect(slot, worker, true);
  const [otherEnd] = await connect(other, worker, true);
  return { head, worker, slot, other, slotEnd, otherEnd, ...links };
}

/** A worker whose session is driven by hand, as the peer with that role. */
function byHand(role: PeerRole) {
  const worker = nodeAt(WORKER);
  const [near, far] = memoryPair("session");
  const problems: unknown[] = [];
  worker.onProblem = (error) => void problems.push(error);
  worker.permits = (from, type) => maySend(from, type, "worker");
  worker.addNode({ node: HEAD.node, role, link: near });
  return { worker, end: new RawEnd(far), problems };
}

describe("Node: other nodes", () => {
  it("F35 a message crosses from a slot by its node, the session and the other node to a slot, and its answer back", async () => {
    const { head, slot, other } = await host();
    other.handleRequest(TEST_TYPE, (n: number, from) => [n + 1, from]);
    expect(await head.request(OTHER, TEST_TYPE, 1)).toEqual([2, HEAD]);
    expect(await slot.request(OTHER, TEST_TYPE, 2)).toEqual([3, SLOT]);
  });

  it("asks for a way to a node that none leads to, once for each message, and fails what finds none", async () => {
    const node = nodeAt(HEAD);
    const asked: number[] = [];
    node.onNoRoute = (number) => void asked.push(number);
    node.notify(WORKER, TEST_TYPE, 1);
    await expect(node.request(WORKER, TEST_TYPE, 1)).rejects.toMatchObject({ code: "LINK_CLOSED" });
    const worker = nodeAt(WORKER);
    worker.handleRequest(TEST_TYPE, () => "there");
    node.onNoRoute = () => void meet(node, "head", worker, "worker");
    expect(await node.request(WORKER, TEST_TYPE, 1)).toBe("there");
    expect(asked).toEqual([WORKER.node, WORKER.node]);
  });

  it("the end of a session fails what waits for any process of that node, and nothing else", async () => {
    const { head, worker, main } = await host();
    const third = nodeAt({ node: 23, slot: 0 });
    meet(head, "head", third, "worker");
    third.handleRequest(TEST_TYPE, () => new Promise(() => {}));
    const lost: unknown[] = [];
    head.onPeerLost = (peer, error) => void lost.push([peer, error?.message]);
    let other: unknown = "waits";
    head.request({ node: 23, slot: 0 }, TEST_TYPE, 1).catch((error) => {
      other = error;
    });
    worker.handleRequest(TEST_TYPE, () => new Promise(() => {}));
    const asked = head.request(WORKER, TEST_TYPE, 1).catch((error) => error);
    await settled();
    main.destroy(new Error("node w1 is lost"));
    expect(await asked).toMatchObject({ code: "LINK_CLOSED", message: expect.stringContaining("node w1 is lost") });
    await settled();
    expect([lost, other]).toEqual([[[WORKER, "node w1 is lost"]], "waits"]);
  });

  it("processGone fails what waits for that process alone", async () => {
    const { head, slot, other } = await host();
    for (const each of [slot, other]) each.handleRequest(TEST_TYPE, () => new Promise(() => {}));
    const one = head.request(SLOT, TEST_TYPE, 1).catch((error) => error);
    let two: unknown = "waits";
    head.request(OTHER, TEST_TYPE, 1).catch((error) => {
      two = error;
    });
    await settled();
    head.processGone(SLOT, new Error("it exited"));
    expect(await one).toMatchObject({ code: "LINK_CLOSED", message: expect.stringContaining("it exited") });
    await settled();
    expect(two).toBe("waits");
  });
});

describe("Node: who may send what", () => {
  it("a request that the sender's role does not allow is refused, a message dropped and told; neither reaches a handler", async () => {
    const { worker, end, problems } = byHand("client");
    let handled = 0;
    for (const type of [MessageType.openJob, MessageType.acquireSlots]) worker.handle(type, () => void handled++);
    end.link.send(frameOf({ type: MessageType.openJob, flags: FLAG_REQUEST, from: HEAD, to: WORKER, correlation: 5 }));
    end.link.send(frameOf({ type: MessageType.acquireSlots, from: HEAD, to: WORKER }));
    await settled();
    const [answer] = end.messages;
    expect([answer?.type, answer?.correlation]).toEqual([MessageType.failure, 5]);
    expect(codec.decode(answer!.payload)).toMatchObject({
      code: "AUTHENTICATION",
      message: `a client may not send openJob here (node ${HEAD.node})`,
    });
    expect([handled, problems.length, end.ended]).toEqual([0, 2, undefined]); // both are told to who runs the node
  });

  it("what is only passed on is checked too", async () => {
    const { worker, end } = byHand("client");
    const slot = nodeAt(SLOT);
    await connect(slot, worker, true);
    let handled = 0;
    slot.handle(MessageType.define, () => void handled++);
    end.link.send(frameOf({ type: MessageType.define, from: HEAD, to: SLOT }));
    await settled();
    expect(handled).toBe(0);
  });

  it("stands between no two other nodes: else one could end the session of another, by a message in its own name", async () => {
    const { worker, end } = byHand("head");
    const third = nodeAt({ node: 23, slot: 0 });
    meet(worker, "worker", third, "worker");
    const lost: unknown[] = [];
    third.onPeerLost = (peer) => void lost.push(peer);
    end.link.send(frameOf({ type: MessageType.define, from: HEAD, to: { node: 23, slot: 0 } }));
    const asks = { type: MessageType.openJob, flags: FLAG_REQUEST, correlation: 6 };
    end.link.send(frameOf({ ...asks, from: HEAD, to: { node: 23, slot: 1 } }));
    await settled();
    expect([lost, end.messages.map(({ type, correlation }) => [type, correlation])]).toEqual([
      [],
      [[MessageType.failure, 6]],
    ]);
  });

  it("a session that speaks in the name of another node is ended", async () => {
    const { worker, end } = byHand("head");
    const lost: unknown[] = [];
    worker.onPeerLost = (peer, error) => void lost.push([peer, error?.message]);
    end.link.send(frameOf({ type: MessageType.define, from: { node: 99, slot: 1 }, to: WORKER }));
    await settled();
    expect(lost).toEqual([[HEAD, "a peer sent a message in the name of process 99/1"]]);
  });

  it("a slot that speaks in the name of another slot is ended; its node may, for it forwards", async () => {
    const { worker, slot } = await host();
    const [near, far] = memoryPair("slot 3");
    worker.accept(far);
    const end = new RawEnd(near);
    end.link.send(
      frameOf({
        type: MessageType.hello,
        from: { node: 22, slot: 3 },
        to: WORKER,
        payload: codec.encode({ protocol: PROTOCOL_VERSION }),
      }),
    );
    end.link.send(frameOf({ type: TEST_TYPE, from: SLOT, to: WORKER }));
    await settled();
    expect(end.ended).toBeDefined();
    expect(slot.hasPeer(WORKER)).toBe(true);
  });
});

describe("Node: large messages between nodes", () => {
  it("F26 F34 pieces go over the bulk lane, the last one over the main lane; order is kept with small ones before and after", async () => {
    const { head, slot } = await host();
    const got: number[] = [];
    slot.handle(TEST_TYPE, (message) => void got.push(message.payload.length));
    for (const size of [10, 5 * PIECE + 7, 20, 2 * PIECE, 0]) head.send(SLOT, TEST_TYPE, 0, 0, new Uint8Array(size));
    await settled(80);
    expect(got).toEqual([10, 5 * PIECE + 7, 20, 2 * PIECE, 0]);
  });

  it("F26 X15 a slot that does not read holds up nobody else, and no more than its window lies on the way", async () => {
    const { head, slotEnd, slot, other } = await host();
    slotEnd.pause();
    let small = 0;
    other.handle(TEST_TYPE, () => void small++);
    const whole: number[] = [];
    slot.handle(TEST_TYPE, (message) => void whole.push(message.payload.length));
    head.send(SLOT, TEST_TYPE, 0, 0, new Uint8Array(40 * PIECE));
    await settled();
    for (let i = 0; i < 100; i++) head.notify(OTHER, TEST_TYPE, i);
    await settled();
    expect([small, whole]).toEqual([100, []]);
    slotEnd.resume();
    await settled(80);
    expect(whole).toEqual([40 * PIECE]);
  });

  it("pieces for a process that is gone are answered so that the sender forgets the rest", async () => {
    const head = nodeAt(HEAD);
    const [near, far] = memoryPair("main");
    const [bulk, farBulk] = memoryPair("bulk");
    head.addNode({ node: WORKER.node, role: "worker", link: near, bulk });
    const worker = nodeAt(WORKER);
    worker.addNode({ node: HEAD.node, role: "head", link: far, bulk: farBulk });
    const drained: Address[] = [];
    head.onDrained = (to) => void drained.push(to);
    expect(head.send(SLOT, TEST_TYPE, 0, 0, new Uint8Array(40 * PIECE))).toBe(false);
    await settled();
    expect(drained).toContainEqual(SLOT);
    expect(head.send(SLOT, TEST_TYPE, 0, 0, new Uint8Array(1))).toBe(true);
  });

  it("a sender of large messages is asked to wait when 2 MiB are ahead of the next, not sooner, and told when there is room", async () => {
    const head = nodeAt(HEAD);
    const [near, far] = memoryPair("main");
    const [bulk, farBulk] = memoryPair("bulk");
    head.addNode({ node: WORKER.node, role: "worker", link: near, bulk });
    const [main, pieces] = [new RawEnd(far), new RawEnd(farBulk)];
    const drained: Address[] = [];
    head.onDrained = (to) => void drained.push(to);
    const send = () => head.send(WORKER, TEST_TYPE, 0, 0, new Uint8Array(4 * PIECE));
    expect([send(), send(), send()]).toEqual([true, false, false]);
    await settled();
    expect([pieces.frames.length, main.frames.length]).toEqual([9, 0]);
    const grant = () => far.send(frameOf({ type: MessageType.grant, from: WORKER, to: HEAD, correlation: 3 }));
    grant();
    await settled();
    expect([main.frames.length, drained]).toEqual([1, []]);
    grant();
    await settled();
    expect([main.frames.length, drained]).toEqual([2, [WORKER]]);
  });

  it("a sender of small messages behind a large one is asked to wait at 16", async () => {
    const head = nodeAt(HEAD);
    const [near] = memoryPair("main");
    head.addNode({ node: WORKER.node, role: "worker", link: near });
    head.send(WORKER, TEST_TYPE, 0, 0, new Uint8Array(2 * PIECE));
    const hadRoom = Array.from({ length: 15 }, () => head.send(WORKER, TEST_TYPE, 0, 0, new Uint8Array(1)));
    expect(hadRoom).toEqual([...new Array(14).fill(true), false]);
  });

  it("a sender never has more than 16 pieces under way that were not granted", async () => {
    const head = nodeAt(HEAD);
    const [near, far] = memoryPair("main");
    const [bulk, farBulk] = memoryPair("bulk");
    head.addNode({ node: WORKER.node, role: "worker", link: near, bulk });
    const [main, pieces] = [new RawEnd(far), new RawEnd(farBulk)];
    head.send(WORKER, TEST_TYPE, 0, 0, new Uint8Array(18 * PIECE));
    head.notify(WORKER, TEST_TYPE, "after");
    await settled();
    expect([pieces.frames.length, main.frames.length]).toEqual([16, 0]);
    const grant = (count: number) =>
      far.send(frameOf({ type: MessageType.grant, from: WORKER, to: HEAD, correlation: count }));
    grant(1);
    await settled();
    expect([pieces.frames.length, main.frames.length]).toEqual([17, 0]);
    grant(15);
    await settled();
    expect(main.frames.length).toBe(0);
    grant(1);
    await settled();
    expect(main.messages.map(({ flags }) => flags)).toEqual([FLAG_LAST, 0]);
    expect(pieces.messages.every(({ flags }) => (flags & FLAG_MORE) !== 0)).toBe(true);
  });
});
