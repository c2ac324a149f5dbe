// Frames that were right before a few of their bytes changed, before and after the other side knows who sends them.
import { expect, test } from "vitest";
import type { Identity } from "../../core/identity/identity.ts";
import { writeGoodbye } from "../../core/session/goodbye.ts";
import { writeAck, writeHeartbeat } from "../../core/session/machine/control-frames.ts";
import { FLAG_FIRST, FLAG_MORE, HEADER_BYTES } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { randomOf } from "../support/random.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { identityIn, transportOf } from "./attacker.ts";
import { ByHand } from "./by-hand.ts";
import { areWell, type Victim, victimsOf } from "./victims.ts";

/** Frames after the handshake, for each victim; and greetings. Another seed: other frames. */
const FRAMES = Number(process.env.MESH_FUZZ_FRAMES ?? 8_000);
const GREETINGS = Number(process.env.MESH_FUZZ_GREETINGS ?? 300);
const SEED = Number(process.env.MESH_FUZZ_SEED ?? 18);
const FRAMES_A_BATCH = 40;

/** Changes one to four bytes, or the length; nothing before `from`. */
function mutated(frame: Uint8Array, next: () => number, from = 0): Uint8Array {
  const at = (length: number) => Math.floor(next() * length);
  if (next() < 0.05) return frame.slice(0, Math.max(1, from + at(frame.length - from)));
  if (next() < 0.05) return Uint8Array.from([...frame, ...frame.subarray(at(frame.length))]);
  const bytes = frame.slice();
  for (let left = 1 + at(4); left > 0; left--) {
    const place = from + at(bytes.length - from);
    bytes[place] = next() < 0.5 ? bytes[place]! ^ (1 << at(8)) : at(256);
  }
  return bytes;
}

test("X18 greetings with changed bytes: refused, each by a code, and none is welcome", {
  timeout: 60_000 + 50 * GREETINGS,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { all } = await victimsOf(mesh);
  const identity = await identityIn(mesh, "worker", "evil");
  const transport = transportOf(identity);
  const next = randomOf(SEED);
  const codes = new Map<string, number>();
  for (const victim of all) victim.watch();
  for (const { address } of all) {
    for (let i = 0; i < GREETINGS; i++) {
      const client = await ByHand.dial(transport, address);
      const right = client.greeting(identity, await client.challenge());
      const wrong = mutated(right, next);
      if (Buffer.compare(right, wrong) === 0) continue;
      client.link.send(wrong);
      await client.over();
      expect(client.lastType, `seed ${SEED}, greeting ${i}: ${Buffer.from(wrong).toString("hex")}`).toBe(
        MessageType.refused,
      );
      const { code } = client.refusal!;
      codes.set(code, (codes.get(code) ?? 0) + 1);
    }
  }
  expect(
    [...codes.keys()].every((code) => ["MALFORMED", "VERSION", "CERTIFICATE", "SIGNATURE"].includes(code)),
    [...codes].join(),
  ).toBe(true);
  await areWell(mesh, all);
});

/** What a head may send; and what it may not, too. */
function framesFor(client: ByHand, to: number): Uint8Array[] {
  const node = { node: to, slot: 0 };
  const slot = { node: to, slot: 1 };
  const seats = { job: client.node, seats: [] };
  const registering = {
    host: "h",
    slots: 0,
    cores: 1,
    arch: "x64",
    memoryBytes: 1,
    tags: ["a"],
    version: "1",
    build: "b",
  };
  const inFiles = { root: "files", dir: "a", name: "f" };
  const facts = { sizeBytes: 1, mtimeMs: 1, mode: 0o600 };
  const bodies: [number, unknown][] = [
    [MessageType.register, { ...registering, addresses: ["tcp://127.0.0.1:1"], since: Date.now() }],
    [
      MessageType.report,
      {
        slotsUsed: 0,
        load1: 0,
        memory: { usedBytes: 1, totalBytes: 2 },
        peers: [{ node: 17, state: "up", path: "tcp" }],
      },
    ],
    [MessageType.introduce, { node: "w1", addresses: ["tcp://127.0.0.1:1"] }],
    [MessageType.certify, { publicKey: Buffer.alloc(91) }],
    [MessageType.admit, { publicKey: Buffer.alloc(91), role: "worker", name: "w9" }],
    [MessageType.membership, {}],
    [MessageType.jobProgress, { progress: { label: "x", done: 1, running: 1, ratePerS: 2 }, nodes: ["w1"] }],
    [
      MessageType.jobLog,
      { records: [{ timeMs: 1, host: "w1", seat: 1, stream: "stdout", bytes: Buffer.from("line\n") }] },
    ],
    [MessageType.endJob, { exitCode: 0 }],
    [MessageType.status, {}],
    [MessageType.jobs, { limit: 3 }],
    [MessageType.logs, { job: 1, reader: 1, follow: false }],
    [MessageType.stopLogs, { reader: 1 }],
    [MessageType.killJob, { job: 999_999 }],
    [MessageType.revoke, { name: "nobody-of-that-name" }],
    [MessageType.revoked, { version: 1, list: {}, caPem: "x" }],
    [
      MessageType.openJob,
      { job: client.node, number: 1, bundle: Buffer.from("// none"), script: "/x.ts", args: [], showsProgress: false },
    ],
    [MessageType.acquireSlots, seats],
    [MessageType.releaseSlots, seats],
    [MessageType.killSlot, { job: client.node, slot: 3, reason: "x" }],
    [MessageType.watchTimeouts, { job: client.node }],
    [MessageType.userGone, { job: client.node, user: node, reason: "x" }],
    [MessageType.closeJob, { job: client.node }],
    [MessageType.output, { seat: 0, host: "w1", stream: "stdout", bytes: Buffer.from("x\n") }],
    [MessageType.shutdown, {}],
    [MessageType.exec, { command: 1, words: ["true"], readsInput: false }],
    [MessageType.execInput, { command: 1, bytes: Buffer.from("x") }],
    [MessageType.execStop, { command: 1, signal: "SIGTERM", graceMs: 1 }],
    [MessageType.fileList, { place: { root: "user", path: "." }, withEntries: false }],
    [MessageType.fileOpen, { place: { root: "log" } }],
    [MessageType.fileRead, { file: 1, offset: 0, sizeBytes: 16 }],
    [MessageType.fileHash, { file: 1, sizeBytes: 16 }],
    [MessageType.fileClose, { file: 2 }],
    [MessageType.fileBegin, { place: inFiles, facts, overwrite: true, compares: true }],
    [MessageType.fileWrite, { file: 1, offset: 0, bytes: Buffer.from("x") }],
    [MessageType.fileFinish, { file: 1, hash: "0".repeat(64) }],
    [MessageType.fileAbandon, { file: 1, keeps: true }],
    [MessageType.fileDelete, { place: inFiles }],
    [MessageType.fileFolder, { place: inFiles }],
  ];
  const messages = bodies.flatMap(([type, body]) => [
    client.message(node, type, body, { correlation: 7 }),
    client.message(node, type, body),
    client.message(slot, type, body, { correlation: 8 }),
  ]);
  const raw = [
    MessageType.define,
    MessageType.run,
    MessageType.result,
    MessageType.pipeSend,
    MessageType.refRead,
    MessageType.reply,
  ];
  const bytes = raw.map((type) => client.message(slot, type, new Uint8Array(64).fill(type)));
  const piece = client.message(node, MessageType.openJob, new Uint8Array(256), { flags: FLAG_MORE | FLAG_FIRST });
  return [...messages, ...bytes, piece];
}

const controls = (client: ByHand) => [
  writeAck({ taken: 1, allowedBytes: 2 ** 40 }),
  writeHeartbeat({ taken: 1, allowedBytes: 2 ** 40, stamp: 5, echo: { stamp: 1, heldUs: 2 }, wantsBulk: false }),
  writeGoodbye(client.codec, { code: "ERROR", reason: "x", taken: 1, answer: false }),
];

/** Sends changed frames until so many are through; a session that the other side ended is followed by another. */
async function fuzz({ address }: Victim, identity: Identity, next: () => number): Promise<{ sessions: number }> {
  const transport = transportOf(identity);
  let sessions = 0;
  let client: ByHand | undefined;
  let frames: Uint8Array[] = [];
  let wild: Uint8Array[] = [];
  for (let sent = 0; sent < FRAMES; sent += FRAMES_A_BATCH) {
    if (!client || client.isOver || client.frames.length > 500) {
      client?.link.destroy(new Error("another one follows"));
      sessions++;
      client = await ByHand.session(transport, address, identity);
      const { node } = await client.challenge();
      frames = framesFor(client, node);
      wild = [...frames, ...controls(client)];
    }
    for (let i = 0; i < FRAMES_A_BATCH; i++) {
      // Mostly payloads: a changed source or a wrong frame of the session itself ends it at once.
      const isWild = next() < 0.02;
      const among = isWild ? wild : frames;
      client.link.send(mutated(among[Math.floor(next() * among.length)]!, next, isWild ? 0 : HEADER_BYTES));
    }
    const { node } = await client.challenge();
    client.link.send(
      client.message(
        { node, slot: 0 },
        MessageType.introduce,
        { node: 17, addresses: [] },
        { correlation: 4_000_000 + sent },
      ),
    );
    await client.replyTo(4_000_000 + sent);
  }
  client?.link.destroy(new Error("all was sent"));
  return { sessions };
}

test("X18 X19 frames with changed bytes after the handshake: an error for each, the session's end at most", {
  timeout: 60_000 + FRAMES,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { all } = await victimsOf(mesh);
  const identity = await identityIn(mesh, "head", "evil");
  const next = randomOf(SEED);
  for (const victim of all) victim.watch();
  for (const victim of all) {
    const { sessions } = await fuzz(victim, identity, next);
    expect(sessions).toBeGreaterThan(1);
  }
  await areWell(mesh, all);
});
