// X18: mutations of valid frames, against the frame reader, the message header, the codec and a node before and after
// hello. MESH_FUZZ=1000000 runs more, MESH_FUZZ_SEED begins elsewhere; a failure prints the seed and the case.
import { expect, it } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { isMeshError } from "../../core/errors.ts";
import { Node } from "../../core/node/node.ts";
import { Codec } from "../../core/wire/codec.ts";
import { FRAME_HEAD_BYTES, FrameReader, writeFrameHead } from "../../core/wire/frame.ts";
import { FLAG_MORE, FLAG_REQUEST, Message, readMessage } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { A, B, frameOf, helloFrame, RawEnd, TEST_TYPE } from "../node/support.ts";
import { randomOf } from "../support/random.ts";

const COUNT = Number(process.env.MESH_FUZZ ?? 200_000);
const SEED = Number(process.env.MESH_FUZZ_SEED ?? 20_261_120);
/** Frames for each node: so many that most get past hello, so few that state does not hide what one did. */
const FRAMES_EACH = 40;
const MEMORY_LIMIT_BYTES = 200 * 1024 * 1024;

const random = randomOf(SEED);
const below = (n: number): number => Math.floor(random() * n);

const codec = new Codec();
const cyclic: unknown[] = [new Map([["a", 1]])];
cyclic.push(cyclic, cyclic[0]);
const bodies = [
  ...[null, 1, "text", [1, [2, { a: "b" }]], { job: "x", list: [1, 2, 3], bytes: new Uint8Array(20) }],
  ...[new Error("e", { cause: new TypeError("c") }), new Map<unknown, unknown>([[1, new Set([2])]]), cyclic],
  ...[2n ** 70n, new Date(5), /a/g, new URL("http://a/"), new Float64Array(3), new DataView(new ArrayBuffer(4))],
].map((body) => codec.encode(body));

/** Frames a peer may send, and what lies behind them. */
const seeds = bodies.flatMap((payload, i) => [
  frameOf({ type: TEST_TYPE, flags: FLAG_REQUEST, correlation: i + 1, payload }),
  frameOf({ type: TEST_TYPE + 1, payload }),
  frameOf({ type: MessageType.reply, correlation: 1 + (i % 4), payload }),
  frameOf({ type: MessageType.failure, correlation: 1 + (i % 4), payload }),
  frameOf({ type: TEST_TYPE + 1, flags: FLAG_MORE, payload }),
  frameOf({ type: TEST_TYPE + 1, mailbox: 1, payload }),
  frameOf({ type: MessageType.refused, payload }),
  frameOf({ type: TEST_TYPE, to: { node: 9, slot: 9 }, flags: FLAG_REQUEST, correlation: 3, payload }),
]);
seeds.push(helloFrame(), helloFrame());

const NASTY = [0, 1, 0x1f, 0x5f, 0x7f, 0x80, 0x9b, 0xbb, 0xc2, 0xd8, 0xd9, 0xdb, 0xff];

function mutated(frame: Uint8Array): Uint8Array {
  let bytes = new Uint8Array(frame);
  for (let changes = 1 + below(4); changes > 0; changes--) {
    const at = below(bytes.length);
    const kind = below(7);
    if (bytes.length === 0) return new Uint8Array([below(256)]);
    if (kind === 0) bytes[at]! ^= 1 << below(8);
    else if (kind === 1) bytes[at] = NASTY[below(NASTY.length)]!;
    else if (kind === 2) bytes[at] = below(256);
    else if (kind === 3) bytes = bytes.slice(0, at);
    else if (kind === 4) bytes = joined(bytes.subarray(0, at), bytes.subarray(below(bytes.length)));
    else if (kind === 5) bytes = joined(bytes, new Uint8Array(1 + below(16)).fill(NASTY[below(NASTY.length)]!));
    else bytes = joined(bytes.subarray(0, at), seeds[below(seeds.length)]!.subarray(below(24)));
    if (bytes.length > 4_096) bytes = bytes.slice(0, 4_096);
  }
  return bytes;
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}

/** Fails unless `act` returns or throws a MeshError. */
function typed(act: () => void): void {
  try {
    act();
  } catch (error) {
    if (!isMeshError(error)) throw error;
  }
}

/** The bytes of a stream as they are; lengths are mutated too. */
function readStream(bytes: Uint8Array): void {
  const reader = new FrameReader();
  const message = new Message();
  const cut = below(bytes.length + 1);
  typed(() => {
    for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
      reader.push(chunk, (frame) => typed(() => readMessage(frame, message)));
    }
  });
  if (reader.pendingBytes > bytes.length) throw new Error(`it holds ${reader.pendingBytes} of ${bytes.length} bytes`);
}

async function turn(): Promise<void> {
  for (let i = 0; i < 12; i++) await null;
}

const counts = { joined: 0, refused: 0, delivered: 0, problems: 0, closed: 0, answers: 0 };

/** A node that takes some frames, with hello before them or not. */
async function feedNode(frames: Uint8Array[], sayHello: boolean): Promise<void> {
  const clock = new ManualClock();
  const node = new Node(B, new Codec(), clock);
  const [near, far] = memoryPair("fuzz");
  const end = new RawEnd(near);
  const problems: unknown[] = [];
  node.onProblem = (error) => void problems.push(error);
  node.onRefused = () => counts.refused++;
  node.handleRequest(TEST_TYPE, (body) => body);
  node.handle(TEST_TYPE + 1, (message) => {
    counts.delivered++;
    node.codec.decode(message.payload);
  });
  node.openMailbox((message) => {
    counts.delivered++;
    node.codec.decodeControl(message.payload);
  });
  node.accept(far, () => counts.joined++);
  if (sayHello) end.link.send(helloFrame());
  await turn();
  const waiting = sayHello ? [1, 2, 3, 4].map((body) => node.request(A, TEST_TYPE, body).catch((error) => error)) : [];
  for (const frame of frames) if (frame.length > 0) end.link.send(frame);
  await turn();
  counts.answers += end.frames.length;
  if (end.ended) counts.closed++;
  end.link.close();
  await turn();
  clock.advance(10_000);
  await Promise.all(waiting); // whatever came, nobody waits for ever
  for (const error of problems) {
    counts.problems++;
    if (!isMeshError(error)) throw error;
  }
}

it(
  `X18: ${COUNT} mutated frames end in a message, a typed error or a closed link; seed ${SEED}`,
  async () => {
    const unexpected: unknown[] = [];
    const note = (error: unknown) => void unexpected.push(error);
    process.on("unhandledRejection", note);
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    try {
      for (let done = 0; done < COUNT; done += FRAMES_EACH) {
        const frames = Array.from({ length: FRAMES_EACH }, () => mutated(seeds[below(seeds.length)]!));
        try {
          for (const frame of frames) {
            const stream = new Uint8Array(FRAME_HEAD_BYTES + frame.length);
            writeFrameHead(stream, 0, below(20) === 0 ? below(0xffffffff) : frame.length);
            stream.set(frame, FRAME_HEAD_BYTES);
            readStream(stream);
            typed(() => void codec.decode(frame.subarray(24)));
            typed(() => void codec.decodeControl(frame.subarray(24)));
          }
          await feedNode(frames.slice(0, 4), false);
          for (let at = 4; at < frames.length; at += 6) await feedNode(frames.slice(at, at + 6), true);
          if (unexpected.length > 0) throw unexpected[0];
        } catch (cause) {
          const hex = frames.map((frame) => Buffer.from(frame).toString("hex")).join("\n");
          throw new Error(`seed ${SEED}, frames from ${done} on: ${String(cause)}\n${hex}`, { cause });
        }
        if (done % 20_000 === 0) {
          Bun.gc(true);
          expect(process.memoryUsage.rss() - before).toBeLessThan(MEMORY_LIMIT_BYTES);
        }
      }
    } finally {
      process.off("unhandledRejection", note);
    }
    // Each way out was taken: otherwise the mutations reach less than they should.
    for (const [name, count] of Object.entries(counts)) expect([name, count > 0]).toEqual([name, true]);
    // The codec works as before after all that.
    const shared = { q: [1] };
    const back = codec.decode(codec.encode([shared, shared, new Map([[1, { a: 1 }]])])) as unknown[];
    expect(back).toEqual([shared, shared, new Map([[1, { a: 1 }]])]);
    expect(back[0]).toBe(back[1]);
    expect("polluted" in {}).toBe(false);
  },
  30_000 + COUNT,
);
