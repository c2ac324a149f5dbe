// One session: credit, buffers, replay, and what it says to a peer that breaks the rules.
import { beforeEach, describe, expect, it } from "vitest";
import { readGoodbye, writeGoodbye } from "../../core/session/goodbye.ts";
import { readAck, readHeartbeat, writeAck, writeHeartbeat } from "../../core/session/machine/control-frames.ts";
import type { PeerSession } from "../../core/session/peer-session.ts";
import { Peers } from "../../core/session/peers.ts";
import { DEFAULT_LIMITS, type SessionLimits } from "../../core/session/session.ts";
import { FRAME_LIMIT_BYTES } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { certificateOf, identityOf, MESH_ID, verify, verifySignature } from "./identities.ts";
import { RawPeer } from "./raw-peer.ts";
import { SimClock } from "./sim-clock.ts";
import { run, settle } from "./sim-node.ts";

const codec = new Codec();
const DATA = 200;

let clock: SimClock;
let peers: Peers;
let session: PeerSession | undefined;
/** What the session handed on: number of bytes and second byte of each frame. */
let got: string[];
let drains: number;
let ends: (Error | undefined)[];
let refused: Error[];

function begin(limits: Partial<SessionLimits> = {}): void {
  clock = new SimClock();
  session = undefined;
  [got, drains, ends, refused] = [[], 0, [], []];
  const certificate = certificateOf("b");
  peers = new Peers({
    self: { node: 200, name: "b", role: "worker", meshId: MESH_ID, build: "test" },
    addresses: () => [],
    identity: () => identityOf(certificate),
    ...{ verify, verifySignature, clock, random: () => 0.5, limits },
    dial: () => Promise.reject(new Error("nobody is dialed here")),
    onSession: (each) => {
      session = each;
      each.main.attach({
        frame: (frame) => void got.push(`${frame.length}:${frame[1]}`),
        drained: () => void drains++,
        closed: (error) => void ends.push(error),
      });
    },
    onRefused: (error) => void refused.push(error),
  });
}

beforeEach(() => begin());

function frame(number: number, sizeBytes = 2): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  bytes[0] = DATA;
  bytes[1] = number;
  return bytes;
}

/** A peer that is up. */
async function linked(taken = 0, allowedBytes?: number): Promise<RawPeer> {
  const raw = await RawPeer.dial(peers, clock, taken > 0 ? { generation: 1 } : {});
  raw.ack(taken, allowedBytes);
  await settle();
  return raw;
}

const numbers = (raw: RawPeer) => raw.of(DATA).map((each) => each[1]);
const acks = (raw: RawPeer) => raw.of(MessageType.ack).map((each) => readAck(each, 0, each.length));

describe("Session", () => {
  it("is told once the peer has taken the welcome, and data comes before nothing else", async () => {
    const raw = await RawPeer.dial(peers, clock);
    expect([session, peers.all(), raw.welcomed!.fields.taken]).toEqual([undefined, [], 0]);
    raw.ack();
    await settle();
    expect([session!.name, peers.get(100) === session, session!.state.phase]).toEqual(["a", true, "up"]);
  });

  it("carries frames both ways unchanged: nothing is added to them", async () => {
    const raw = await linked();
    raw.send(frame(1), frame(2, 500));
    session!.main.send(new Uint8Array([DATA, 7, 8]), new Uint8Array([9]));
    await settle();
    expect(got).toEqual(["2:1", "500:2"]);
    expect(raw.of(DATA).map((each) => [...each])).toEqual([[DATA, 7, 8, 9]]);
  });

  it("takes no frame of its own types, no empty one and none over the limit, and goes on", async () => {
    const raw = await linked(0, 100_000_000);
    for (const type of [4, 5, 8, 9, 10]) {
      expect(() => session!.main.send(new Uint8Array([type]))).toThrow(/the session's own/);
    }
    expect(() => session!.main.send(new Uint8Array(0), new Uint8Array([MessageType.ack]))).toThrow(/session's own/);
    expect(() => session!.main.send(new Uint8Array(0))).toThrow(/at least one byte/);
    expect(() => session!.main.send(frame(1, FRAME_LIMIT_BYTES + 1))).toThrow(/over the limit/);
    session!.main.send(frame(1, FRAME_LIMIT_BYTES));
    for (const type of [1, 2, 3, 11, 13]) session!.main.send(new Uint8Array([type, 1]));
    await settle();
    expect(raw.frames.filter(([type]) => type !== 9).map(({ length }) => length)).toEqual([
      FRAME_LIMIT_BYTES,
      2,
      2,
      2,
      2,
      2,
    ]);
  });

  it("acknowledges after every 256 KiB, and with each heartbeat", async () => {
    const raw = await linked();
    for (let i = 0; i < 9; i++) raw.send(frame(i, 64 * 1024 - 4));
    await settle();
    expect(acks(raw)).toEqual([
      { taken: 4, allowedBytes: 8 * 1024 * 1024 + 256 * 1024 },
      { taken: 8, allowedBytes: 8 * 1024 * 1024 + 512 * 1024 },
    ]);
    await run(clock, 1_100);
    const beat = raw.of(MessageType.heartbeat).at(-1)!;
    expect(readHeartbeat(beat, 0, beat.length)).toMatchObject({ taken: 9, allowedBytes: (8 * 1024 + 9 * 64) * 1024 });
  });

  it("F33 X15 a handler that pauses is sent no more than the window, keeps what came, and gets it all in order", async () => {
    begin({ windowBytes: 1_000 });
    const raw = await linked();
    raw.send(frame(0, 96));
    await settle();
    session!.main.pause();
    for (let i = 1; i < 11; i++) raw.send(frame(i, 96));
    await settle();
    expect(got).toEqual(["96:0"]);
    expect(session!.lanes.main).toMatchObject({ framesReceived: 11, unreadBytes: 64 * 1024 });
    expect(acks(raw).at(-1)).toEqual({ taken: 9, allowedBytes: 1_100 }); // taken, and no more allowed
    session!.main.resume();
    expect(got).toHaveLength(11);
    await settle();
    expect([acks(raw).at(-1), session!.lanes.main.unreadBytes]).toEqual([{ taken: 11, allowedBytes: 2_100 }, 0]);
  });

  it("a handler that pauses in the middle of what was kept gets the rest when it goes on", async () => {
    const raw = await RawPeer.dial(peers, clock);
    const seen: number[] = [];
    raw.ack();
    await settle();
    session!.bulk.attach({ frame: () => {}, drained: () => {}, closed: () => {} });
    const bulk = await RawPeer.dial(peers, clock, { lane: 1 });
    bulk.ack();
    session!.main.pause();
    for (let i = 0; i < 6; i++) raw.send(frame(i));
    await settle();
    got.push = (...texts: string[]) => {
      seen.push(...texts.map((text) => Number(text.split(":")[1])));
      if (seen.length % 2 === 0) session!.main.pause();
      return seen.length;
    };
    session!.main.resume();
    expect(seen).toEqual([0, 1]);
    raw.send(frame(6));
    await settle();
    session!.main.resume();
    expect(seen).toEqual([0, 1, 2, 3]);
    session!.main.resume();
    session!.main.resume();
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it("X15 sends no more than it is allowed, and goes on when it is allowed more", async () => {
    const raw = await linked(0, 300);
    const results = Array.from({ length: 5 }, (_, i) => session!.main.send(frame(i, 96)));
    await settle();
    expect([results, numbers(raw)]).toEqual([
      [true, true, false, false, false],
      [0, 1, 2],
    ]);
    raw.ack(3, 400);
    await settle();
    expect([numbers(raw), drains]).toEqual([[0, 1, 2, 3], 0]);
    raw.ack(4, 1_000);
    await settle();
    expect([numbers(raw), drains]).toEqual([[0, 1, 2, 3, 4], 1]);
    expect(session!.main.send(frame(5))).toBe(true);
  });

  it("F33 from the mark on it asks to wait, and says when half of that is free; what it took all the same is not lost", async () => {
    begin({ markBytes: 256 * 1024 });
    const raw = await linked(0, 100_000_000);
    const results = Array.from({ length: 8 }, (_, i) => session!.main.send(frame(i, 60_000)));
    expect(results).toEqual([true, true, true, false, false, false, false, false]);
    await settle();
    expect(numbers(raw)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    raw.ack(3, 100_000_000);
    await settle();
    expect(drains).toBe(0);
    raw.ack(8, 100_000_000);
    await settle();
    expect([drains, session!.lanes.main.heldBytes]).toEqual([1, 0]);
  });

  it("F33 over the limit it ends with an error that says what to do", async () => {
    begin({ markBytes: 100_000, limitBytes: 300_000 });
    const raw = await linked();
    for (let i = 0; i < 9; i++) session!.main.send(frame(i, 60_000));
    expect(ends).toMatchObject([
      { code: "LINK_CLOSED", message: /over 300000 bytes wait for node a, which does not take/ },
    ]);
    await settle();
    expect(codeOf(raw)).toBe("ERROR");
    expect(session!.lanes.main.heldBytes).toBe(0);
  });

  it("F33 or drops and counts, if that was chosen, and says when there is room again", async () => {
    begin({ markBytes: 100_000, limitBytes: 300_000, whenFull: "drop" });
    const raw = await linked(0, 100_000_000);
    const results = Array.from({ length: 9 }, (_, i) => session!.main.send(frame(i, 60_000)));
    expect([results.slice(2), session!.lanes.main.framesDropped]).toEqual([Array(7).fill(false), 4]);
    await settle();
    raw.ack(5, 100_000_000);
    await settle();
    expect([numbers(raw), drains, session!.main.send(frame(9))]).toEqual([[0, 1, 2, 3, 4], 1, true]);
    await settle();
    expect(numbers(raw)).toEqual([0, 1, 2, 3, 4, 9]);
  });

  it("F29 a new link begins with the first frame the peer has not taken, and tells what this side has", async () => {
    const raw = await linked();
    raw.send(frame(50), frame(51));
    for (let i = 0; i < 5; i++) session!.main.send(frame(i));
    await settle();
    raw.link.destroy(new Error("cut"));
    await settle();
    for (let i = 5; i < 8; i++) expect(session!.main.send(frame(i))).toBe(true);
    const again = await RawPeer.dial(peers, clock, { generation: 1 });
    expect(again.welcomed!.fields).toMatchObject({ taken: 2, generation: 2, epoch: "0102030405060708" });
    expect(numbers(again)).toEqual([]); // not before it is known what the peer has
    again.ack(3);
    await settle();
    expect([numbers(again), ends]).toEqual([[3, 4, 5, 6, 7], []]);
    again.send(frame(52));
    await settle();
    expect(got).toEqual(["2:50", "2:51", "2:52"]);
  });

  it("F29 the old link is not listened to once another took its place", async () => {
    const raw = await linked();
    const again = await RawPeer.dial(peers, clock, { generation: 1 });
    again.ack();
    raw.send(frame(1));
    await settle();
    expect([got, raw.ended !== undefined]).toEqual([[], true]);
  });

  it("measures the round trip on heartbeats", async () => {
    const raw = await linked();
    await run(clock, 100);
    const stamp = readHeartbeat(raw.of(MessageType.heartbeat)[0]!, 0, 26).stamp;
    const beat = { taken: 0, allowedBytes: 0, stamp: 5, wantsBulk: false };
    raw.send(writeHeartbeat({ ...beat, echo: { stamp, heldUs: 70_000 } }));
    await settle();
    expect(session!.path).toMatchObject({ kind: "link", address: "by hand", rttMs: expect.closeTo(30, 1) });
    await run(clock, 950);
    const answer = readHeartbeat(raw.of(MessageType.heartbeat).at(-1)!, 0, 26);
    expect(answer.echo).toEqual({ stamp: 5, heldUs: 900_000 });
  });

  it("setRef holds for links to come", async () => {
    const raw = await linked();
    session!.main.setRef(false);
    expect(session!.main.label).toBe("node a (by hand)");
    raw.link.close();
    await settle();
    expect(session!.state).toMatchObject({ phase: "detached", why: "its link ended: the other side closed it" });
  });
});

function codeOf(raw: RawPeer): string | undefined {
  const goodbye = raw.of(MessageType.goodbye).at(-1);
  return goodbye && readGoodbye(codec, goodbye, 0, goodbye.length).code;
}

const beat = { stamp: 0, echo: undefined, wantsBulk: false };
const huge = 2 ** 47;

describe("X18 a peer that breaks the protocol is told so and closed", () => {
  it.each<[string, Uint8Array[], RegExp]>([
    [
      "acks more than was sent",
      [writeAck({ taken: 3, allowedBytes: 0 })],
      /says it took 3 frames, of 2 that were sent/,
    ],
    [
      "takes back an ack",
      [writeAck({ taken: 2, allowedBytes: 0 }), writeAck({ taken: 1, allowedBytes: 0 })],
      /took 1 frames, after it had said 2/,
    ],
    ["acks more in a heartbeat", [writeHeartbeat({ ...beat, taken: 9, allowedBytes: huge })], /took 9 frames, of 2/],
    ["sends half an ack", [writeAck({ taken: 1, allowedBytes: 0 }).subarray(0, 7)], /an ack of 7 bytes, not 13/],
    ["sends too long a heartbeat", [new Uint8Array(27).fill(9)], /a heartbeat of 27 bytes, not 26/],
    ["sends a heartbeat with unknown flags", [new Uint8Array(26).fill(9)], /unknown flags 9/],
    ["sends a challenge", [new Uint8Array([MessageType.challenge])], /a challenge in the middle of a session/],
    ["sends a greeting", [new Uint8Array([MessageType.greeting, 1])], /a greeting in the middle of a session/],
    ["sends a welcome", [new Uint8Array([MessageType.welcome, 1])], /a welcome in the middle of a session/],
    ["sends a goodbye that is no CBOR", [new Uint8Array([MessageType.goodbye, 0xff, 1])], /CBOR that is not allowed/],
    ["sends a goodbye of too many bytes", [new Uint8Array(5_000).fill(MessageType.goodbye)], /a goodbye of 5000 bytes/],
    ["says goodbye for no known reason", [goodbye({ code: "BORED" })], /a goodbye of an unknown kind/],
    ["acks too much in a goodbye", [goodbye({ taken: 5 })], /took 5 frames, of 2/],
  ])("one that %s", async (_what, frames, words) => {
    const raw = await linked();
    session!.main.send(frame(0));
    session!.main.send(frame(1));
    await settle();
    raw.send(...frames);
    await settle();
    expect(ends).toMatchObject([{ code: "PROTOCOL", message: words }]);
    expect(ends[0]!.message).toMatch(/^node a broke the protocol: /);
    expect([codeOf(raw), raw.ended, peers.all()]).toEqual(["PROTOCOL", { error: undefined }, []]);
  });

  it("one that sends more than it was allowed", async () => {
    begin({ windowBytes: 1_000 });
    const raw = await linked();
    session!.main.pause();
    for (let i = 0; i < 10; i++) raw.send(frame(i, 100));
    await settle();
    expect(ends).toEqual([]);
    raw.send(frame(10, 100));
    await settle();
    expect(codeOf(raw)).toBe("PROTOCOL");
    session!.main.resume(); // what came before is not lost
    expect(got).toHaveLength(10);
    expect(ends).toMatchObject([{ code: "PROTOCOL", message: /more than the 1000 bytes that it was allowed/ }]);
  });

  it("one whose first frame is no ack, or a wrong one", async () => {
    for (const first of [frame(1), writeHeartbeat({ ...beat, taken: 0, allowedBytes: 0 })]) {
      begin();
      const raw = await RawPeer.dial(peers, clock);
      raw.send(first);
      await settle();
      expect([codeOf(raw), session, peers.all()]).toEqual(["PROTOCOL", undefined, []]);
    }
    begin();
    const raw = await RawPeer.dial(peers, clock);
    raw.ack(1);
    await settle();
    expect([codeOf(raw), ends[0]?.message]).toEqual(["PROTOCOL", expect.stringMatching(/took 1 frames, of 0/)]);
  });

  it("one that wants to go on where it cannot", async () => {
    const raw = await linked();
    for (let i = 0; i < 4; i++) session!.main.send(frame(i));
    await settle();
    raw.ack(3);
    await settle();
    const again = await RawPeer.dial(peers, clock, { generation: 1 });
    again.ack(2);
    await settle();
    expect([codeOf(again), ends[0]?.message]).toEqual([
      "PROTOCOL",
      expect.stringMatching(/took 2 frames, after it had said 3/),
    ]);
  });
});

describe("a greeting about a session", () => {
  const codeFor = async (options: Parameters<typeof RawPeer.dial>[2]) => {
    const raw = await RawPeer.dial(peers, clock, options);
    return (raw.failure as { refusal?: string } | undefined)?.refusal;
  };

  it("X23 that is over, or never was, is refused as GONE", async () => {
    await linked();
    session!.main.fail(new Error("enough"), "ERROR");
    expect(await codeFor({ generation: 1 })).toBe("GONE");
    expect(await codeFor({ epoch: "ffffffffffffffff", generation: 1 })).toBe("GONE");
    expect(await codeFor({ epoch: "ffffffffffffffff", lane: 1 })).toBe("GONE");
    expect(await codeFor({ epoch: "ffffffffffffffff" })).toBeUndefined();
  });

  it("that was sent before the one there is was agreed on is refused as a DUPLICATE", async () => {
    await linked();
    expect(await codeFor({ epoch: "ffffffffffffffff" })).toBe("DUPLICATE");
    expect(session!.state.phase).toBe("up");
  });

  it("that nobody confirmed gives way to another: nothing went over it yet", async () => {
    const first = await RawPeer.dial(peers, clock);
    first.link.destroy(new Error("cut before the ack"));
    const second = await RawPeer.dial(peers, clock, { epoch: "ffffffffffffffff" });
    second.ack();
    await settle();
    expect([session!.epoch, session!.state.phase, peers.all().length]).toEqual(["ffffffffffffffff", "up", 1]);
  });

  it("after the peer gave the one there is up: that one ends, and a new one begins", async () => {
    await linked();
    const first = session!;
    const raw = await RawPeer.dial(peers, clock, { epoch: "ffffffffffffffff", ended: ["0102030405060708"] });
    raw.ack();
    await settle();
    expect(ends.map((error) => error?.message)).toEqual(["node a has given up this session: it began another one"]);
    expect([first.isOver, session !== first, peers.get(100)?.epoch]).toEqual([true, true, "ffffffffffffffff"]);
  });

  it("X22 under the number of a node that has another name, or for another node", async () => {
    await linked();
    expect(await codeFor({ name: "c" })).toBe("IDENTITY");
    expect(await codeFor({ to: 201 })).toBe("IDENTITY");
    expect(await codeFor({ node: 200, name: "c" })).toBe("IDENTITY");
    expect(refused.map(({ message }) => message)).toEqual([
      "by hand was refused: node 100 is a, not the worker c",
      "by hand was refused: a looks for node 201, and this is b, node 200",
      "by hand was refused: c has the number of this node, 200",
    ]);
  });
});

function goodbye(fields: { code?: string; taken?: number }): Uint8Array {
  return writeGoodbye(codec, { code: "END", reason: "", taken: 0, answer: false, ...fields } as never);
}

it("the limits a session has by default", () => {
  const { windowBytes, markBytes, limitBytes } = DEFAULT_LIMITS;
  expect([windowBytes, markBytes, limitBytes].map((bytes) => bytes / 1024 / 1024)).toEqual([8, 16, 64]);
});
