// X18: mutations of what a session may hear, before and after its handshake, in memory: many more than real sockets bear.
// MESH_FUZZ=1000000 runs more, MESH_FUZZ_SEED begins elsewhere; a failure prints the seed and the frames.
import { expect, it } from "vitest";
import { isMeshError } from "../../core/errors.ts";
import { writeGoodbye } from "../../core/session/goodbye.ts";
import { writeAck, writeHeartbeat } from "../../core/session/machine/control-frames.ts";
import { Peers } from "../../core/session/peers.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { RawEnd } from "../node/support.ts";
import { randomOf } from "../support/random.ts";
import { certificateOf, identityOf, MESH_ID, verify, verifySignature } from "./identities.ts";
import { RawPeer } from "./raw-peer.ts";
import { SimClock } from "./sim-clock.ts";
import { run, settle } from "./sim-node.ts";

const COUNT = Number(process.env.MESH_FUZZ ?? 40_000);
const SEED = Number(process.env.MESH_FUZZ_SEED ?? 33);
/** So few for each session that one that ends at the first does not hide what the others do. */
const FRAMES_EACH = 5;
const MEMORY_LIMIT_BYTES = 200 * 1024 * 1024;

const random = randomOf(SEED);
const below = (n: number): number => Math.floor(random() * n);
const codec = new Codec();
const counts = { refused: 0, protocol: 0, data: 0, ended: 0, lived: 0 };

const echo = { stamp: 7, heldUs: 9 };
const controls = [
  writeAck({ taken: 1, allowedBytes: 2 ** 40 }),
  writeAck({ taken: 2, allowedBytes: 2 ** 40 }),
  writeHeartbeat({ taken: 2, allowedBytes: 2 ** 40, stamp: 5, echo, wantsBulk: false }),
  writeHeartbeat({ taken: 2, allowedBytes: 2 ** 40, stamp: 5, echo: undefined, wantsBulk: true }),
  writeGoodbye(codec, { code: "END", reason: "", taken: 2, answer: false }),
  writeGoodbye(codec, { code: "ERROR", reason: "why", taken: 1, answer: true }),
];
const data = [1, 2, 3, 11, 13, 48, 200].map((type) => new Uint8Array(20 + below(80)).fill(type));

const NASTY = [0, 1, 4, 9, 10, 0x1f, 0x5f, 0x7f, 0x80, 0x9b, 0xbb, 0xd9, 0xff];

function mutated(frame: Uint8Array, among: readonly Uint8Array[]): Uint8Array {
  let bytes = frame.slice();
  for (let changes = below(4); changes > 0; changes--) {
    const at = below(bytes.length);
    const kind = below(6);
    if (kind === 0) bytes[at]! ^= 1 << below(8);
    else if (kind === 1) bytes[at] = NASTY[below(NASTY.length)]!;
    else if (kind === 2) bytes[at] = below(256);
    else if (kind === 3) bytes = bytes.slice(0, Math.max(1, at));
    else if (kind === 4) bytes = Uint8Array.from([...bytes, ...bytes.subarray(at)]).slice(0, 6_000);
    else bytes = Uint8Array.from([...bytes.subarray(0, at + 1), ...among[below(among.length)]!.subarray(1)]);
  }
  return bytes;
}

class Victim {
  readonly clock = new SimClock();
  readonly ends: (Error | undefined)[] = [];
  readonly peers: Peers;
  frames = 0;

  constructor() {
    const certificate = certificateOf("b");
    this.peers = new Peers({
      self: { node: 200, name: "b", role: "worker", meshId: MESH_ID, build: "test" },
      addresses: () => [],
      identity: () => identityOf(certificate),
      ...{ verify, verifySignature, clock: this.clock, random: () => 0.5 },
      dial: () => Promise.reject(new Error("nobody is dialed here")),
      onSession: ({ main, bulk }) => {
        const handler = { frame: () => void this.frames++, drained: () => {}, closed: () => {} };
        bulk.attach(handler);
        main.attach({ ...handler, closed: (error) => void this.ends.push(error) });
        main.send(new Uint8Array([200]));
        main.send(new Uint8Array([200]));
      },
      onRefused: (error) => {
        counts.refused++;
        if (!isMeshError(error)) throw error;
      },
    });
  }
}

/** What an honest peer says first. */
async function greeting(): Promise<Uint8Array> {
  const victim = new Victim();
  const raw = await RawPeer.dial(victim.peers, victim.clock);
  return raw.greeting!;
}

async function beforeHandshake(frames: Uint8Array[]): Promise<void> {
  const victim = new Victim();
  const [near, far] = memoryPair("fuzz");
  const end = new RawEnd(near);
  victim.peers.accept(far);
  for (const frame of frames) near.send(frame);
  await settle();
  await run(victim.clock, 6_000);
  if (!end.ended || victim.peers.all().length > 0) throw new Error("it was not sent away");
}

async function afterHandshake(frames: Uint8Array[]): Promise<void> {
  const victim = new Victim();
  const raw = await RawPeer.dial(victim.peers, victim.clock);
  if (random() < 0.9) raw.ack();
  await settle();
  raw.send(...frames);
  await settle();
  counts.data += victim.frames;
  const isProtocol = victim.ends.some((error) => isMeshError(error, "PROTOCOL"));
  if (isProtocol) counts.protocol++;
  if (raw.ended) counts.ended++;
  else counts.lived++;
  // Who breaks the rules is told so; whoever is told nothing can still talk.
  if (isProtocol && raw.of(MessageType.goodbye).length === 0) throw new Error("it was not told why");
  await run(victim.clock, 25_000);
  if (victim.peers.all().length > 0) throw new Error("its session lives on, though nothing is heard of it");
  if (victim.ends.length > 1 || victim.ends.some((error) => error && !isMeshError(error))) throw victim.ends.at(-1);
}

it(
  `X18 Session: ${COUNT} mutated frames end in data, a typed error or a closed link; seed ${SEED}`,
  async () => {
    const before = [await greeting()];
    const known = [...before, ...controls, ...data];
    const after = [...controls, ...controls, ...data];
    const unexpected: unknown[] = [];
    const note = (error: unknown) => void unexpected.push(error);
    process.on("unhandledRejection", note);
    process.on("uncaughtException", note);
    Bun.gc(true);
    const memory = process.memoryUsage.rss();
    try {
      for (let done = 0; done < COUNT; done += FRAMES_EACH) {
        const isBefore = random() < 0.3;
        const among = isBefore && random() < 0.8 ? before : after;
        const frames = Array.from({ length: FRAMES_EACH }, () => mutated(among[below(among.length)]!, known));
        try {
          await (isBefore ? beforeHandshake(frames) : afterHandshake(frames));
          if (unexpected.length > 0) throw unexpected[0];
        } catch (cause) {
          const hex = frames.map((frame) => Buffer.from(frame).toString("hex")).join("\n");
          throw new Error(`seed ${SEED}, frames from ${done} on: ${String(cause)}\n${hex}`, { cause });
        }
      }
    } finally {
      process.off("unhandledRejection", note);
      process.off("uncaughtException", note);
    }
    Bun.gc(true);
    expect(process.memoryUsage.rss() - memory).toBeLessThan(MEMORY_LIMIT_BYTES);
    // Each way out was taken: otherwise the mutations reach less than they should.
    for (const [name, count] of Object.entries(counts)) expect([name, count > COUNT / 400]).toEqual([name, true]);
    expect("polluted" in {}).toBe(false);
  },
  30_000 + COUNT,
);
