import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import type { Node } from "../../core/node/node.ts";
import { Reassembly } from "../../core/node/reassembly.ts";
import { Codec } from "../../core/wire/codec.ts";
import { FLAG_FIRST, FLAG_LAST, FLAG_MORE, FLAG_REQUEST, Message, readMessage } from "../../core/wire/message.ts";
import { MessageType, PROTOCOL_VERSION } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { A, B, C, connect, frameOf, helloFrame, nodeAt, RawEnd, settled, TEST_TYPE } from "./support.ts";

const codec = new Codec();

/** What a promise rejects with. */
async function rejection(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  return promise.then(
    (value) => Promise.reject(new Error(`it resolved: ${String(value)}`)),
    (error) => error,
  );
}

/** A node that was dialed by hand, and the hand's end of the link. */
function dialed(clock = new ManualClock()) {
  const [near, far] = memoryPair("dialed");
  const node = nodeAt(B, clock);
  const joined: unknown[] = [];
  const refused: MeshError[] = [];
  const problems: unknown[] = [];
  node.onRefused = (error) => void refused.push(error);
  node.onProblem = (error) => void problems.push(error);
  node.accept(far, (peer) => void joined.push(peer));
  return { node, end: new RawEnd(near), joined, refused, problems, clock };
}

describe("Node: hello", () => {
  it("who dials says it first, and both can write to each other then", async () => {
    const [a, b] = [nodeAt(A), nodeAt(B)];
    const got: string[] = [];
    a.handle(TEST_TYPE, (message) => void got.push(`a ${String(codec.decode(message.payload))}`));
    b.handle(TEST_TYPE, (message) => void got.push(`b ${String(codec.decode(message.payload))}`));
    await connect(a, b);
    expect([a.hasPeer(B), b.hasPeer(A), a.hasPeer(C)]).toEqual([true, true, false]);
    a.notify(B, TEST_TYPE, "from a");
    b.notify(A, TEST_TYPE, "from b");
    await settled();
    expect(got.sort()).toEqual(["a from b", "b from a"]);
  });

  it("another protocol version is refused; both sides hear both versions", async () => {
    const { end, joined, refused } = dialed();
    end.link.send(helloFrame(A, B, 77));
    await settled();
    const both = `it speaks protocol 77, this build ${PROTOCOL_VERSION}`;
    expect(joined).toEqual([]);
    expect(refused.map(({ code, message }) => [code, message])).toEqual([["PROTOCOL", `dialed: ${both}`]]);
    const [message] = end.messages;
    expect([message?.type, codec.decode(message!.payload)]).toEqual([MessageType.refused, { reason: both }]);
    expect(end.ended).toEqual({});
  });

  it("a node that is refused loses its link with the reason, and its requests fail with it", async () => {
    const [near, far] = memoryPair("far");
    const a = nodeAt(A);
    const lost = new Promise((resolve) => {
      a.onPeerLost = (peer, error) => resolve([peer, error]);
    });
    const end = new RawEnd(far);
    a.join(near, B);
    const asked = rejection(a.request(B, TEST_TYPE, 1));
    end.link.send(
      frameOf({ type: MessageType.refused, from: B, to: A, payload: codec.encode({ reason: "you are old" }) }),
    );
    const error = await asked;
    expect([error.code, (error.cause as Error).message]).toEqual([
      "LINK_CLOSED",
      expect.stringMatching(/you are old$/),
    ]);
    expect(await lost).toEqual([B, expect.objectContaining({ code: "PROTOCOL" })]);
  });

  it.each([
    ["another message", frameOf({ type: TEST_TYPE }), "its first message is no hello"],
    ["a request", frameOf({ type: MessageType.startJob, flags: FLAG_REQUEST }), "its first message is no hello"],
    ["too few bytes", new Uint8Array(5), "a message has at least 24 bytes"],
    ["a hello without body", frameOf({ type: MessageType.hello }), "it ends in the middle"],
    ["a hello of null", frameOf({ type: MessageType.hello, payload: codec.encode(null) }), "null"],
    [
      "a hello of 5 KiB",
      frameOf({ type: MessageType.hello, payload: new Uint8Array(5_000) }),
      "its hello has 5024 bytes",
    ],
    ["the own address", helloFrame(B), "it has this process's own address"],
  ])("first %s: sent away, and nothing after it is looked at", async (_name, first, reason) => {
    const { node, end, joined, refused } = dialed();
    let handled = 0;
    node.handle(TEST_TYPE, () => void handled++);
    end.link.send(first);
    end.link.send(helloFrame());
    end.link.send(frameOf({ type: TEST_TYPE }));
    await settled();
    expect([joined, handled]).toEqual([[], 0]);
    expect(refused).toHaveLength(1);
    expect(refused[0]!.message).toContain(reason);
    expect(end.ended).toBeDefined();
  });

  it("no hello within 5 s ends the link; one at 4.999 s is in time", async () => {
    const { end, refused, clock } = dialed();
    clock.advance(4_999);
    expect(end.ended).toBeUndefined();
    clock.advance(1);
    expect(refused[0]).toMatchObject({ code: "TIMEOUT", message: "dialed: no hello within 5000 ms" });
    await settled();
    expect(end.ended?.error).toBeDefined();

    const late = dialed();
    late.clock.advance(4_999);
    late.end.link.send(helloFrame());
    await settled();
    late.clock.advance(60_000);
    await settled();
    expect([late.joined, late.end.ended]).toEqual([[A], undefined]);
  });

  it("who does not take its refusal is cut off after the same 5 s", async () => {
    const { end, refused, clock } = dialed();
    end.link.pause();
    end.link.send(helloFrame(A, B, 77));
    await settled();
    expect(end.ended).toBeUndefined();
    clock.advance(5_000);
    await settled();
    expect(end.ended?.error).toBeDefined();
    expect(refused).toHaveLength(1);
  });

  it("a second hello on a link is a message nobody takes", async () => {
    const { end, joined, problems } = dialed();
    end.link.send(helloFrame());
    end.link.send(helloFrame());
    await settled();
    expect(joined).toEqual([A]);
    expect(problems).toEqual([expect.objectContaining({ code: "PROTOCOL", message: "this process takes no hello" })]);
  });

  it("two processes that dial each other at once have two links: all arrives, in order, and the loss is told once", async () => {
    const [a, b] = [nodeAt(A), nodeAt(B)];
    const got: number[] = [];
    const lost: unknown[] = [];
    b.handle(TEST_TYPE, (message) => void got.push(codec.decode(message.payload) as number));
    a.onPeerLost = (peer) => void lost.push(peer);
    const [aToB, bFromA] = memoryPair("1");
    const [bToA, aFromB] = memoryPair("2");
    b.accept(bFromA);
    a.accept(aFromB);
    a.join(aToB, B);
    b.join(bToA, A);
    for (let i = 0; i < 100; i++) {
      a.notify(B, TEST_TYPE, i);
      if (i % 10 === 0) await settled(1);
    }
    await settled();
    expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i));
    b.handleRequest(TEST_TYPE + 1, (n: number) => n + 1);
    expect(await a.request(B, TEST_TYPE + 1, 1)).toBe(2);
    b.close();
    await settled();
    expect(lost).toEqual([B]);
    expect(a.hasPeer(B)).toBe(false);
  });

  it("of two links the loss of one ends both, after what the other still carries", async () => {
    const a = nodeAt(A);
    const [near1, far1] = memoryPair("1");
    const [near2, far2] = memoryPair("2");
    a.join(near1, B);
    a.join(near2, B);
    const log: string[] = [];
    a.handle(TEST_TYPE, () => void log.push("message"));
    a.onPeerLost = () => void log.push("lost");
    far2.send(frameOf({ type: TEST_TYPE, from: B, to: A }));
    far1.destroy(new Error("broken"));
    const ends = [new RawEnd(far1), new RawEnd(far2)];
    await settled();
    expect(log).toEqual(["message", "lost"]);
    expect(ends[1]!.ended).toEqual({});
  });
});

describe("Node: requests", () => {
  async function pair(clock?: ManualClock): Promise<{ a: Node; b: Node }> {
    const [a, b] = [nodeAt(A, clock), nodeAt(B)];
    await connect(a, b);
    return { a, b };
  }

  it("answers come back, each to its question, whatever their order", async () => {
    const { a, b } = await pair();
    const waiting: (() => void)[] = [];
    b.handleRequest(TEST_TYPE, (n: number) => new Promise((resolve) => waiting.push(() => resolve(n * n))));
    const answers = [1, 2, 3].map((n) => a.request(B, TEST_TYPE, n));
    await settled();
    for (const answer of waiting.reverse()) answer();
    expect(await Promise.all(answers)).toEqual([1, 4, 9]);
  });

  it("the handler hears who asked", async () => {
    const { a, b } = await pair();
    b.handleRequest(TEST_TYPE, (_body, from) => from);
    expect(await a.request(B, TEST_TYPE, undefined)).toEqual(A);
  });

  it.each([
    ["thrown at once", () => { throw new RangeError("bad"); }], // biome-ignore format: short
    ["rejected later", async () => { await null; throw new RangeError("bad"); }], // biome-ignore format: short
  ])("an error %s arrives as its class", async (_name, handler) => {
    const { a, b } = await pair();
    b.handleRequest(TEST_TYPE, handler);
    const error = await rejection(a.request(B, TEST_TYPE, 1));
    expect(error).toBeInstanceOf(RangeError);
    expect(error.message).toBe("bad");
  });

  it("a MeshError keeps its code and cause", async () => {
    const { a, b } = await pair();
    b.handleRequest(TEST_TYPE, () => {
      throw new MeshError("UNREACHABLE", "far away", { cause: new TypeError("deep") });
    });
    const error = await rejection(a.request(B, TEST_TYPE, 1));
    expect(error).toMatchObject({ code: "UNREACHABLE", message: "far away" });
    expect(error.cause).toBeInstanceOf(TypeError);
  });

  it.each([
    ["an answer that cannot travel", () => Promise.resolve, "the answer"],
    ["something thrown that cannot travel", () => Promise.reject(Symbol("s")), "what was thrown"],
    [
      "an object without text thrown",
      () => Promise.reject({ f: Object.create(null, { g: { value: 1 } }), h: () => 1 }),
      "h",
    ],
  ])("%s fails the request", async (_name, handler, words) => {
    const { a, b } = await pair();
    b.handleRequest(TEST_TYPE, handler);
    const error = await rejection(a.request(B, TEST_TYPE, 1));
    expect(error).toMatchObject({ code: "CANNOT_TRAVEL", message: expect.stringContaining(words) });
  });

  it("a request nobody takes fails, and so does one whose body is no value", async () => {
    const { a, b } = await pair();
    expect(await rejection(a.request(B, TEST_TYPE, 1))).toMatchObject({
      code: "PROTOCOL",
      message: "this process takes no type 200",
    });
    b.handleRequest(TEST_TYPE, () => 1);
    const { end } = await (async () => {
      const hand = dialed();
      hand.node.handleRequest(TEST_TYPE, () => 1);
      hand.end.link.send(helloFrame());
      hand.end.link.send(
        frameOf({ type: TEST_TYPE, flags: FLAG_REQUEST, correlation: 9, payload: new Uint8Array([0xff, 0xff]) }),
      );
      await settled();
      return hand;
    })();
    const [answer] = end.messages;
    expect([answer?.type, answer?.correlation]).toEqual([MessageType.failure, 9]);
    expect(codec.decode(answer!.payload)).toMatchObject({ code: "PROTOCOL" });
  });

  it("an answer that cannot be read fails the request instead of leaving it open", async () => {
    const [near, far] = memoryPair();
    const a = nodeAt(A);
    const end = new RawEnd(far);
    a.join(near, B);
    const asked = rejection(a.request(B, TEST_TYPE, 1));
    await settled();
    const { correlation } = end.messages.at(-1)!;
    far.send(frameOf({ type: MessageType.reply, from: B, to: A, correlation, payload: new Uint8Array([0x81]) }));
    expect(await asked).toMatchObject({ code: "PROTOCOL" });
  });

  it("an answer nobody waits for, and a second one, are dropped", async () => {
    const [near, far] = memoryPair();
    const a = nodeAt(A);
    const problems: unknown[] = [];
    a.onProblem = (error) => void problems.push(error);
    const end = new RawEnd(far);
    a.join(near, B);
    const asked = a.request(B, TEST_TYPE, 1);
    await settled();
    const { correlation } = end.messages.at(-1)!;
    const reply = (value: number) =>
      frameOf({ type: MessageType.reply, from: B, to: A, correlation, payload: codec.encode(value) });
    far.send(frameOf({ type: MessageType.reply, from: B, to: A, correlation: 4_000, payload: codec.encode(0) }));
    far.send(reply(1));
    far.send(reply(2));
    expect(await asked).toBe(1);
    await settled();
    expect(problems).toEqual([]);
  });

  it("timeoutMs: TIMEOUT exactly then; a late answer changes nothing", async () => {
    const clock = new ManualClock();
    const { a, b } = await pair(clock);
    const { promise, resolve } = Promise.withResolvers<unknown>();
    b.handleRequest(TEST_TYPE, () => promise);
    let outcome: unknown;
    const asked = rejection(a.request(B, TEST_TYPE, 1, { timeoutMs: 300 })).then((error) => {
      outcome = error;
    });
    await settled();
    clock.advance(299);
    await settled();
    expect(outcome).toBeUndefined();
    clock.advance(1);
    await asked;
    expect(outcome).toMatchObject({ code: "TIMEOUT", message: "no answer to type 200 within 300 ms" });
    resolve("late");
    await settled();
  });

  it("signal: CANCELLED with its reason; when aborted before, nothing is sent", async () => {
    const { a, b } = await pair();
    let asked = 0;
    b.handleRequest(TEST_TYPE, () => {
      asked++;
      return new Promise(() => {});
    });
    const controller = new AbortController();
    const open = rejection(a.request(B, TEST_TYPE, 1, { signal: controller.signal }));
    await settled();
    controller.abort("no longer wanted");
    expect(await open).toMatchObject({ code: "CANCELLED", cause: "no longer wanted" });
    const late = await rejection(a.request(B, TEST_TYPE, 1, { signal: controller.signal }));
    expect(late).toMatchObject({ code: "CANCELLED", cause: "no longer wanted" });
    await settled();
    expect(asked).toBe(1);
  });

  it("a body that cannot travel rejects, and holds nothing", async () => {
    const { a } = await pair();
    expect(await rejection(a.request(B, TEST_TYPE, () => 1))).toMatchObject({ code: "CANNOT_TRAVEL" });
  });

  it("a link that closes while somebody waits: LINK_CLOSED naming what was asked", async () => {
    const { a, b } = await pair();
    b.handleRequest(TEST_TYPE, () => new Promise(() => {}));
    const asked = rejection(a.request(B, TEST_TYPE, 1));
    await settled();
    b.close();
    expect(await asked).toMatchObject({ code: "LINK_CLOSED", message: expect.stringContaining("type 200") });
    expect(await rejection(a.request(B, TEST_TYPE, 1))).toMatchObject({ code: "LINK_CLOSED" });
  });
});

describe("Node: forwarding", () => {
  /** a <-> middle <-> c, where a and c know only the middle. */
  async function chain() {
    const [a, middle, c] = [nodeAt(A), nodeAt(B), nodeAt(C)];
    await connect(a, middle, true);
    await connect(c, middle, true);
    return { a, middle, c };
  }

  it("by header alone: payloads that are no CBOR arrive byte for byte, requests find their way back", async () => {
    const { a, middle, c } = await chain();
    const got: Uint8Array[] = [];
    middle.handle(TEST_TYPE, () => {
      throw new Error("it was for somebody else");
    });
    c.handle(TEST_TYPE, (message) => void got.push(new Uint8Array(message.payload)));
    const payload = new Uint8Array(3_000).map((_, i) => 255 - (i % 256));
    a.send(C, TEST_TYPE, 0, 0, payload);
    a.send(C, TEST_TYPE, 0, 0);
    c.handleRequest(TEST_TYPE + 1, (n: number, from) => [n + 1, from]);
    expect(await a.request(C, TEST_TYPE + 1, 1)).toEqual([2, A]);
    expect(got).toEqual([payload, new Uint8Array(0)]);
  });

  it("messages in pieces cross a middle node whole", async () => {
    const { a, c } = await chain();
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    c.handle(TEST_TYPE, (message) => resolve(new Uint8Array(message.payload)));
    const payload = new Uint8Array(5 * 1024 * 1024 + 3).map((_, i) => i * 31);
    a.send(C, TEST_TYPE, 0, 0, payload);
    expect(Buffer.compare(await promise, payload)).toBe(0);
  });

  it("a request to a slot nobody reaches fails with UNREACHABLE; a message is dropped", async () => {
    const { a } = await chain();
    a.notify({ node: 2, slot: 9 }, TEST_TYPE, 1);
    const error = await rejection(a.request({ node: 2, slot: 9 }, TEST_TYPE, 1));
    expect(error).toMatchObject({ code: "UNREACHABLE", message: "there is no way to process 2/9" });
  });

  it("nothing goes back where it came from", async () => {
    // a's default route is the middle and the middle's is a: a message for nobody must not run in circles.
    const [a, b] = [nodeAt(A), nodeAt(B)];
    const [near, far] = memoryPair();
    a.join(near, B, true);
    b.join(far, A, true);
    const error = await rejection(a.request(C, TEST_TYPE, 1));
    expect(error).toMatchObject({ code: "UNREACHABLE" });
  });
});

describe("Node: mailboxes", () => {
  it("messages go to the object they are for, and nowhere when that is closed", async () => {
    const [a, b] = [nodeAt(A), nodeAt(B)];
    await connect(a, b);
    const got: string[] = [];
    const first = b.openMailbox((message) => void got.push(`first ${String(codec.decode(message.payload))}`));
    const second = b.openMailbox((message) => void got.push(`second ${String(codec.decode(message.payload))}`));
    a.notify(B, TEST_TYPE, 1, first);
    a.notify(B, TEST_TYPE, 2, second);
    await settled();
    b.closeMailbox(first);
    a.notify(B, TEST_TYPE, 3, first);
    a.notify(B, TEST_TYPE, 4, second);
    await settled();
    expect(got).toEqual(["first 1", "second 2", "second 4"]);
  });
});

describe("Node: large messages", () => {
  it("50 MB in pieces, while another sender's small messages pass between the pieces", async () => {
    const [a, b, c] = [nodeAt(A), nodeAt(B), nodeAt(C)];
    await connect(a, b);
    await connect(c, b);
    let small = 0;
    let smallWhenLargeCame = 0;
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    b.handle(TEST_TYPE, (message) => {
      smallWhenLargeCame = small;
      resolve(new Uint8Array(message.payload));
    });
    b.handle(TEST_TYPE + 1, () => {
      small++;
      if (small < 1_000) c.notify(B, TEST_TYPE + 1, small);
    });
    const payload = new Uint8Array(50 * 1024 * 1024 + 7);
    for (let i = 0; i < payload.length; i += 4_099) payload[i] = i;
    expect(a.send(B, TEST_TYPE, 0, 0, payload)).toBe(false);
    c.notify(B, TEST_TYPE + 1, 0);
    expect(Buffer.compare(await promise, payload)).toBe(0);
    expect(smallWhenLargeCame).toBeGreaterThan(0);
    await settled(50);
  });

  it("order is kept between large and small messages of one sender", async () => {
    const [a, b] = [nodeAt(A), nodeAt(B)];
    await connect(a, b);
    const sizes: number[] = [];
    b.handle(TEST_TYPE, (message) => void sizes.push(message.payload.length));
    const sent = [10, 3_000_000, 20, 1024 * 1024, 1024 * 1024 + 1, 0, 2 * 1024 * 1024, 30];
    for (const size of sent) a.send(B, TEST_TYPE, 0, 0, new Uint8Array(size));
    await settled(50);
    expect(sizes).toEqual(sent);
  });

  it("send returns false when the link is full, and onDrained tells when it is not any more", async () => {
    const [a, b] = [nodeAt(A), nodeAt(B)];
    const [, far] = await connect(a, b);
    const drained: unknown[] = [];
    let got = 0;
    a.onDrained = (peer) => void drained.push(peer);
    b.handle(TEST_TYPE, () => void got++);
    await settled();
    far.pause();
    const kilobytes = new Uint8Array(100_000);
    let sent = 1;
    while (a.send(B, TEST_TYPE, 0, 0, kilobytes)) sent++;
    expect(sent).toBeGreaterThan(1);
    expect(sent).toBeLessThan(100);
    a.send(B, TEST_TYPE, 0, 0, kilobytes); // taken all the same
    await settled();
    expect([drained, got]).toEqual([[], 0]);
    far.resume();
    await settled();
    expect([drained, got]).toEqual([[B], sent + 1]);
  });
});

describe("Reassembly", () => {
  interface Piece {
    flags: number;
    slot?: number;
    transfer?: number;
    /** Of the whole payload; with FLAG_FIRST. */
    size?: number;
  }

  const part = (bytes: number[], { flags, slot = 0, transfer = 0, size = 0 }: Piece): Message => {
    const message = new Message();
    const frame = frameOf({
      type: TEST_TYPE,
      flags,
      from: { node: 1, slot },
      correlation: flags & FLAG_FIRST ? size : 7,
      payload: new Uint8Array(bytes),
    });
    new DataView(frame.buffer).setUint16(14, transfer);
    readMessage(frame, message);
    return message;
  };
  const FIRST = FLAG_FIRST | FLAG_MORE;

  it("property: pieces of several messages of several senders, mixed in any way, come out whole", () => {
    const lengths = fc.array(fc.array(fc.uint8Array({ maxLength: 5 }), { minLength: 2, maxLength: 5 }), {
      maxLength: 6,
    });
    fc.assert(
      fc.property(lengths, fc.array(fc.nat()), (messages, choices) => {
        const reassembly = new Reassembly();
        const queues = messages.map((pieces) => pieces.map((piece, i) => ({ piece, i })));
        const whole = new Map<number, number[]>();
        for (let turn = 0; queues.some((queue) => queue.length > 0); turn++) {
          const open = queues.flatMap((queue, at) => (queue.length > 0 ? [at] : []));
          const at = open[(choices[turn % Math.max(1, choices.length)] ?? 0) % open.length]!;
          const { piece, i } = queues[at]!.shift()!;
          const size = messages[at]!.reduce((sum, each) => sum + each.length, 0);
          const flags = (i === 0 ? FLAG_FIRST : 0) | (queues[at]!.length > 0 ? FLAG_MORE : FLAG_LAST);
          const message = part([...piece], { flags, slot: at >> 1, transfer: at & 1, size });
          if (!reassembly.add(message)) continue;
          whole.set(at, [...message.payload]);
          readMessage(message.frame, message);
          expect(message.correlation).toBe(7);
        }
        const expected = messages.map((pieces, at) => [at, pieces.flatMap((piece) => [...piece])]);
        expect([...whole].sort(([a], [b]) => a - b)).toEqual(expected);
      }),
    );
  });

  it("over the limit, longer or shorter than announced, without a beginning: refused or dropped", () => {
    const reassembly = new Reassembly();
    const limits = { message: 10, total: 30_000 };
    expect(reassembly.add(part([1], { flags: FIRST, size: 11 }), limits)).toBe(false);
    expect(() => reassembly.add(part([2], { flags: FLAG_LAST }))).toThrow(/of 11 bytes is larger than this node takes/);
    expect(reassembly.add(part([1, 2], { flags: FIRST, size: 3 }))).toBe(false);
    expect(() => reassembly.add(part([3, 4], { flags: FLAG_LAST }))).toThrow(/more than its first one said/);
    expect(reassembly.add(part([1], { flags: FIRST, size: 3, slot: 1 }))).toBe(false);
    expect(() => reassembly.add(part([2], { flags: FLAG_LAST, slot: 1 }))).toThrow(/less than its first one said/);
    expect(reassembly.add(part([1], { flags: FLAG_LAST, slot: 2 }))).toBe(false);
    expect(reassembly.add(part([1], { flags: FIRST, size: 2, slot: 3 }))).toBe(false);
    reassembly.forget(1, 3);
    expect(reassembly.add(part([2], { flags: FLAG_LAST, slot: 3 }))).toBe(false);
    const small = part([9], { flags: 0 });
    expect([reassembly.add(small), [...small.payload]]).toEqual([true, [9]]);
  });

  it("X18 so many bytes of one node's messages in all, each counted as 4 KiB at least; others are not held up by it", () => {
    const reassembly = new Reassembly();
    const limits = { message: 10, total: 10_000 };
    const begin = (slot: number) => reassembly.add(part([1], { flags: FIRST, size: 2, slot }), limits);
    const end = (slot: number) => reassembly.add(part([2], { flags: FLAG_LAST, slot }));
    expect([begin(1), begin(2), begin(3)]).toEqual([false, false, false]);
    expect([end(1), end(2), end(3)]).toEqual([true, true, false]);
    expect([begin(4), begin(5)]).toEqual([false, false]);
    reassembly.forgetNode(1);
    expect([begin(6), begin(7), end(6), end(7)]).toEqual([false, false, true, true]);
  });

  it("tells of pieces four at a time, and of the rest when only the last one is missing", () => {
    const piece = new Array<number>(256 * 1024).fill(1);
    const reassembly = new Reassembly();
    const told = Array.from({ length: 6 }, (_, i) => {
      const message = part(piece, { flags: i === 0 ? FIRST : FLAG_MORE, size: 6.5 * piece.length });
      expect(reassembly.add(message)).toBe(false);
      return reassembly.takenOf(message);
    });
    expect(told).toEqual([0, 0, 0, 4, 0, 2]);
    const stray = part([1], { flags: FLAG_MORE, slot: 9 });
    expect([reassembly.add(stray), reassembly.takenOf(stray)]).toEqual([false, 1]);
  });
});
