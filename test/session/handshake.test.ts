// X22, X23, X25: who gets through a handshake, and what both sides hear when somebody does not.
import { afterEach, describe, expect, it } from "vitest";
import { isMeshError } from "../../core/errors.ts";
import type { Expectation } from "../../core/session/dialer.ts";
import { readChallenge } from "../../core/session/greeting.ts";
import { Peers, type PeersOptions } from "../../core/session/peers.ts";
import { readRefused } from "../../core/session/refusal.ts";
import type { Link } from "../../core/transport.ts";
import { Codec } from "../../core/wire/codec.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { RawEnd } from "../node/support.ts";
import { certificateOf, identityOf, MESH_ID, signatureOf, verify, verifySignature } from "./identities.ts";
import { SimClock } from "./sim-clock.ts";
import { run, settle } from "./sim-node.ts";

const codec = new Codec();
let clock: SimClock;

interface Side {
  peers: Peers;
  refused: Error[];
  sessions: string[];
}

type Options = Partial<PeersOptions> & { name?: string; node?: number; certificate?: Uint8Array };

/** Makes a link that the one side dials and the other accepts; a test may put itself in between. */
let connectLinks: (accept: (link: Link) => void) => Link;

afterEach(() => {
  connectLinks = plainLinks;
});

function plainLinks(accept: (link: Link) => void): Link {
  const [near, far] = memoryPair("memory:10.0.0.5:4711");
  accept(far);
  return near;
}

function withTls(link: Link, ownCertificate: Uint8Array, peerCertificate: Uint8Array | undefined): Link {
  return Object.assign(link, { tls: { ownCertificate, peerCertificate } });
}

/** Links whose TLS showed these certificates: what the dialer had and saw, what the acceptor had and saw. */
function tlsLinks(dialer: [Uint8Array, Uint8Array | undefined], acceptor: [Uint8Array, Uint8Array | undefined]): void {
  connectLinks = (accept) => {
    const [near, far] = memoryPair("tcp://10.0.0.5:4711");
    accept(withTls(far, ...acceptor));
    return withTls(near, ...dialer);
  };
}

function side({ name = "a", node = 100, certificate = certificateOf(name), ...more }: Options, target?: Side): Side {
  const refused: Error[] = [];
  const sessions: string[] = [];
  const peers = new Peers({
    self: { node, name, role: "worker", meshId: MESH_ID, build: `build of ${name}` },
    addresses: () => [`memory:${name}`],
    identity: () => identityOf(certificate),
    ...{ verify, verifySignature, clock, random: () => 0.5 },
    dial: async () => connectLinks((link) => target!.peers.accept(link)),
    onSession: (session) => void sessions.push(session.name),
    onRefused: (error) => void refused.push(error),
    ...more,
  });
  return { peers, refused, sessions };
}

interface Outcome {
  dialer: Side;
  acceptor: Side;
  /** What `connect` threw. */
  error: unknown;
}

/** Dials once, and lets everything happen. */
async function meet(dialing: Options, accepting: Options, expect: Expectation = {}): Promise<Outcome> {
  clock = new SimClock();
  const acceptor = side({ name: "b", node: 200, ...accepting });
  const dialer = side(dialing, acceptor);
  const connecting = dialer.peers.connect(["memory:b"], expect, { once: true }).then(
    () => undefined,
    (error) => error,
  );
  await run(clock, 20_000);
  return { dialer, acceptor, error: await connecting };
}

/** Neither side has a session, both know why, and no process threw. */
function expectRefused({ dialer, acceptor, error }: Outcome, code: string, words: RegExp): void {
  expect(isMeshError(error)).toBe(true);
  expect(error).toMatchObject({ code, message: expect.stringMatching(words) });
  expect([dialer.peers.all(), acceptor.peers.all(), dialer.sessions]).toEqual([[], [], []]);
  for (const { refused } of [dialer, acceptor]) {
    expect(refused.map(({ message }) => message)).toEqual([expect.stringMatching(words)]);
  }
}

const ofA = certificateOf("a");
const ofB = certificateOf("b");
const ofX = certificateOf("x");

connectLinks = plainLinks;

describe("handshake", () => {
  it("F76 two nodes of a mesh know each other by their certificates, and where they listen", async () => {
    const { dialer, acceptor, error } = await meet({}, {}, { name: "b", role: "worker", node: 200 });
    expect([error, dialer.sessions, acceptor.sessions]).toEqual([undefined, ["b"], ["a"]]);
    expect(dialer.peers.get(200)!.info).toEqual({ node: 200, name: "b", role: "worker", addresses: ["memory:b"] });
    expect(acceptor.peers.get(100)!.info).toEqual({ node: 100, name: "a", role: "worker", addresses: ["memory:a"] });
    expect([acceptor.peers.get(100)!.build, acceptor.peers.get(100)!.serial]).toEqual(["build of a", "serial of a"]);
    expect([dialer.refused, acceptor.refused]).toEqual([[], []]);
  });

  it("F76 over TLS as well", async () => {
    tlsLinks([ofA, ofB], [ofB, ofA]);
    expect((await meet({}, {}, { name: "b" })).error).toBeUndefined();
  });

  it("X25 no version of the protocol in common: both hear both builds, both versions and what to do", async () => {
    for (const [dialing, accepting] of [
      [{ protocol: [1, 1] }, { protocol: [2, 3] }],
      [{ protocol: [2, 3] }, { protocol: [1, 1] }],
    ] as const) {
      const outcome = await meet(dialing, accepting);
      const [low, high] = ["protocol 1", "protocol 2 to 3"].map((words) => new RegExp(`build of . with ${words}`));
      expectRefused(outcome, "PROTOCOL", /run the same build of mesh on both: `mesh up` brings/);
      expect((outcome.error as Error).message).toMatch(low!);
      expect((outcome.error as Error).message).toMatch(high!);
    }
  });

  it("X25 versions that overlap work", async () => {
    expect((await meet({ protocol: [1, 2] }, { protocol: [2, 3] })).error).toBeUndefined();
  });

  it.each(["signed by another CA", "expired since yesterday", "not valid before tomorrow", "for something else"])(
    "X22 the dialer's certificate is %s",
    async (state) => {
      const outcome = await meet({ certificate: certificateOf("a", { state }) }, {});
      expectRefused(outcome, "AUTHENTICATION", new RegExp(`the certificate of a is ${state}`));
    },
  );

  it("X22 the acceptor's certificate is bad: it hears so", async () => {
    const outcome = await meet({}, { certificate: certificateOf("b", { state: "expired" }) });
    expectRefusedLate(outcome, "AUTHENTICATION", /the certificate of b is expired/);
  });

  it("X22 no certificate at all", async () => {
    expectRefused(await meet({ certificate: new Uint8Array([1, 2]) }, {}), "AUTHENTICATION", /its certificate is none/);
  });

  it("X22 of another mesh", async () => {
    const outcome = await meet({ certificate: certificateOf("a", { meshId: "ffffffffffffffff" }) }, {});
    expectRefused(outcome, "AUTHENTICATION", /a belongs to mesh f{16}, b to 00112233aabbccdd/);
  });

  it("X22 another node's certificate, without its key: it is who has the key", async () => {
    const identity = () => ({ certificate: ofX, sign: (bytes: Uint8Array) => signatureOf(ofA, bytes) });
    expectRefused(await meet({ identity }, {}), "AUTHENTICATION", /the signature of x is wrong/);
    const outcome = await meet({}, { identity });
    expectRefusedLate(outcome, "AUTHENTICATION", /the signature of x is wrong/);
  });

  it("X22 a signature that is not even one", async () => {
    const verifySignature = () => {
      throw new TypeError("not 64 bytes");
    };
    expectRefused(await meet({}, { verifySignature }), "AUTHENTICATION", /the signature of a is wrong/);
  });

  it("X22 TLS showed another certificate than the one that signed", async () => {
    tlsLinks([ofX, ofB], [ofB, ofX]);
    expectRefused(await meet({}, {}), "AUTHENTICATION", /TLS showed another certificate than that of a/);
    tlsLinks([ofA, ofX], [ofX, ofA]);
    expectRefusedLate(await meet({}, {}), "AUTHENTICATION", /TLS showed another certificate than that of b/);
  });

  it("X22 one who passes on words between two TLS connections: the leafs differ", async () => {
    const twin = certificateOf("b", { serial: "of one in between" });
    tlsLinks([ofA, twin], [ofB, ofA]);
    expectRefused(await meet({}, {}), "AUTHENTICATION", /the signature of a is wrong/);
  });

  it("a certificate that was renewed while TLS still shows the old one is the same node", async () => {
    const old = certificateOf("b", { serial: "old" });
    tlsLinks([ofA, old], [old, ofA]);
    expect((await meet({}, {}, { name: "b" })).error).toBeUndefined();
  });

  it("X22 the old one in TLS counts no more once it is revoked", async () => {
    const old = certificateOf("b", { serial: "old", state: "revoked" });
    tlsLinks([ofA, old], [old, ofA]);
    expectRefused(await meet({}, {}), "AUTHENTICATION", /the certificate of b is revoked/);
  });

  it.each<[string, Expectation, RegExp]>([
    ["name", { name: "gpu1" }, /gpu1 was dialed and b answered/],
    ["role", { role: "coordinator" }, /a coordinator was dialed, and b is a worker/],
    ["node", { node: 201 }, /node 201 was dialed and node 200 answered/],
  ])("X22 another %s than was meant: over TLS it is not even greeted", async (_what, expect, words) => {
    tlsLinks([ofA, ofB], [ofB, ofA]);
    expectRefused(await meet({}, {}, expect), expect.node ? "UNREACHABLE" : "AUTHENTICATION", words);
  });

  it("X22 another name than was meant, without TLS: the welcome is refused, and the session there ends", async () => {
    const outcome = await meet({}, {}, { name: "gpu1" });
    expectRefusedLate(outcome, "AUTHENTICATION", /gpu1 was dialed and b answered/);
  });

  it("two nodes of one name cannot both be in a mesh", async () => {
    expectRefused(await meet({ name: "b" }, {}), "AUTHENTICATION", /both sides are called b/);
  });

  it("a node that dials itself says so", async () => {
    clock = new SimClock();
    const itself: Side = side({ dial: async () => connectLinks((link) => itself.peers.accept(link)) });
    const connecting = itself.peers.connect(["memory:a"], {}, { once: true });
    connecting.catch(() => {});
    await settle(50);
    await expect(connecting).rejects.toMatchObject({ message: expect.stringMatching(/that is this node, a, itself/) });
  });

  it("X23 a revoked node gets no session, on whichever side it is", async () => {
    clock = new SimClock();
    const acceptor = side({ name: "b", node: 200 });
    acceptor.peers.revoke((serial, name) => serial === "serial of a" && name === "a");
    const dialer = side({}, acceptor);
    const outcome = dialer.peers.connect(["memory:b"], {}, { once: true });
    outcome.catch(() => {});
    await run(clock, 1_000);
    await expect(outcome).rejects.toMatchObject({ code: "AUTHENTICATION", message: /a was revoked/ });
    dialer.peers.revoke((_serial, name) => name === "b");
    acceptor.peers.revoke(() => false);
    const other = dialer.peers.connect(["memory:b"], {}, { once: true });
    other.catch(() => {});
    await run(clock, 1_000);
    await expect(other).rejects.toMatchObject({ code: "AUTHENTICATION", message: /b was revoked/ });
  });
});

/** As expectRefused, when it was the welcome that did not please: the acceptor had a session for a moment, told to nobody. */
function expectRefusedLate({ dialer, acceptor, error }: Outcome, code: string, words: RegExp): void {
  expect(error).toMatchObject({ code, message: expect.stringMatching(words) });
  expect([dialer.peers.all(), acceptor.peers.all()]).toEqual([[], []]);
  expect([dialer.sessions, acceptor.sessions]).toEqual([[], []]);
  for (const { refused } of [dialer, acceptor]) {
    expect(refused.map(({ message }) => message)).toEqual([expect.stringMatching(words)]);
  }
}

/** Speaks to an acceptor by hand. */
function raw(acceptor: Side, label = "tcp://10.0.0.9:40000", peerCertificate?: Uint8Array | "no TLS"): RawEnd {
  const [near, far] = memoryPair(label);
  const end = new RawEnd(near);
  acceptor.peers.accept(peerCertificate === "no TLS" ? far : withTls(far, ofB, peerCertificate));
  return end;
}

function refusalTo(end: RawEnd): string {
  const frame = end.frames.at(-1)!;
  return readRefused(codec, frame, 0, frame.length).code;
}

/** What A says to whoever it dials, one frame for each connection. */
async function greetingsOfA(): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  connectLinks = (accept) => {
    const [mine, near] = memoryPair();
    const [theirs, far] = memoryPair();
    const pass = (from: Link, to: Link) =>
      from.attach({
        frame: (frame) => {
          if (frame[0] === MessageType.greeting) frames.push(frame.slice());
          to.send(frame);
        },
        drained: () => {},
        closed: () => to.close(),
      });
    pass(near, far);
    pass(far, near);
    accept(theirs);
    return mine;
  };
  await meet({}, {});
  connectLinks = plainLinks;
  return frames;
}

describe("handshake, with somebody who is no mesh", () => {
  const acceptor = (more: Options = {}): Side => {
    clock = new SimClock();
    return side({ name: "b", node: 200, ...more });
  };

  it("X23 a greeting that was said before is refused: it answers another challenge", async () => {
    const [greeting] = await greetingsOfA();
    const b = acceptor();
    const end = raw(b, "tcp://10.0.0.9:1", "no TLS");
    end.link.send(greeting!);
    await settle();
    expect([refusalTo(end), b.peers.all(), end.ended !== undefined]).toEqual(["SIGNATURE", [], true]);
  });

  it("F76 a greeting with one bit changed is refused, wherever the bit is", async () => {
    const [greeting] = await greetingsOfA();
    const b = acceptor();
    const codes = new Set<string>();
    for (let bit = 8; bit < greeting!.length * 8; bit += 7) {
      const changed = greeting!.slice();
      changed[bit >> 3]! ^= 1 << (bit & 7);
      const end = raw(b, `tcp://10.0.0.9:${bit}`, "no TLS");
      end.link.send(changed);
      await settle();
      codes.add(refusalTo(end));
      expect([end.ended !== undefined, b.peers.all()]).toEqual([true, []]);
    }
    const allowed = ["CERTIFICATE", "MALFORMED", "MESH", "SIGNATURE", "VERSION"];
    expect([...codes].filter((code) => !allowed.includes(code))).toEqual([]);
    expect(codes.has("SIGNATURE")).toBe(true);
  });

  it("X24 a stranger is shown the CA, and its one join is handed on", async () => {
    const joined: number[][] = [];
    const strangers = {
      ca: () => "the CA's certificate",
      joins: (link: Link, frame: Uint8Array) => {
        joined.push([...frame]);
        link.send(new Uint8Array([MessageType.joined, 9]));
        link.close();
      },
    };
    const b = acceptor({ strangers });
    const end = raw(b, "tcp://10.0.0.9:1", undefined);
    await settle();
    expect(readChallenge(codec, end.frames[0]!)).toMatchObject({
      node: 200,
      build: "build of b",
      ca: "the CA's certificate",
    });
    end.link.send(new Uint8Array([MessageType.join, 1, 2, 3]));
    await settle();
    expect(joined).toEqual([[MessageType.join, 1, 2, 3]]);
    expect([[...end.frames[1]!], end.ended]).toEqual([[MessageType.joined, 9], {}]);
    await run(clock, 20_000);
    expect(b.refused).toEqual([]);
  });

  it("X22 a stranger can do nothing but join, and only where strangers are admitted", async () => {
    const [greeting] = await greetingsOfA();
    const joins = () => {
      throw new Error("nobody joined");
    };
    const b = acceptor({ strangers: { ca: () => "CA", joins } });
    for (const frame of [greeting!, new Uint8Array([MessageType.ack, 0]), new Uint8Array(30).fill(200)]) {
      const end = raw(b, "tcp://10.0.0.9:1", undefined);
      end.link.send(frame);
      await settle();
      expect([refusalTo(end), end.ended !== undefined]).toEqual(["STRANGER", true]);
    }
    const other = acceptor();
    const end = raw(other, "tcp://10.0.0.9:1", undefined);
    end.link.send(new Uint8Array([MessageType.join]));
    await settle();
    expect([refusalTo(end), readChallenge(codec, end.frames[0]!).ca]).toEqual(["STRANGER", undefined]);
  });

  it("X22 a stranger that says more than its join is sent away", async () => {
    const b = acceptor({ strangers: { ca: () => "CA", joins: () => {} } });
    const end = raw(b, "tcp://10.0.0.9:1", undefined);
    end.link.send(new Uint8Array([MessageType.join]));
    end.link.send(new Uint8Array([MessageType.join]));
    await settle();
    expect(refusalTo(end)).toBe("MALFORMED");
  });

  it("a node with a certificate is shown no CA, and cannot join", async () => {
    const b = acceptor({ strangers: { ca: () => "CA", joins: () => {} } });
    const end = raw(b, "tcp://10.0.0.9:1", ofA);
    end.link.send(new Uint8Array([MessageType.join]));
    await settle();
    expect([readChallenge(codec, end.frames[0]!).ca, refusalTo(end)]).toEqual([undefined, "MALFORMED"]);
  });

  it("X20 who says nothing is sent away after 5 s, who joins and gets no answer after 5 s more", async () => {
    const b = acceptor({ strangers: { ca: () => "CA", joins: () => {} } });
    const [silent, joining] = [raw(b, "tcp://10.0.0.9:1", ofA), raw(b, "tcp://10.0.0.9:2", undefined)];
    await run(clock, 4_000);
    joining.link.send(new Uint8Array([MessageType.join]));
    await run(clock, 1_001);
    expect([refusalTo(silent), silent.ended, joining.ended]).toEqual(["TIMEOUT", {}, undefined]);
    await run(clock, 4_000);
    expect([refusalTo(joining), joining.ended]).toEqual(["TIMEOUT", {}]);
    expect(b.refused.map(({ message }) => message)).toEqual([
      "tcp://10.0.0.9:1 was refused: tcp://10.0.0.9:1 did not say who it is within 5000 ms",
      "tcp://10.0.0.9:2 was refused: tcp://10.0.0.9:2 did not say who it is within 5000 ms",
    ]);
  });

  it("X20 a dialer waits no longer for its acceptor either", async () => {
    clock = new SimClock();
    const ends: RawEnd[] = [];
    const a = side({
      dial: async () => {
        const [near, far] = memoryPair("tcp://b:1");
        ends.push(new RawEnd(far));
        return near;
      },
    });
    const connecting = a.peers.connect(["tcp://b:1"], {}, { timeoutMs: 4_000 });
    connecting.catch(() => {});
    await run(clock, 5_000);
    await expect(connecting).rejects.toMatchObject({
      code: "TIMEOUT",
      message: /no node answered within 4000 ms on tcp:/,
    });
    expect(ends.every(({ ended }) => ended)).toBe(true);
  });

  it("X17 frames over 4 KiB are not looked at", async () => {
    const b = acceptor();
    const end = raw(b, "tcp://10.0.0.9:1", ofA);
    end.link.send(new Uint8Array(4_097).fill(MessageType.greeting));
    await settle();
    expect(refusalTo(end)).toBe("MALFORMED");
  });

  it("X21 links that have not said who they are: so many from one address, so many in all", async () => {
    const b = acceptor({ admission: { perAddress: 3, inAll: 5 } });
    const open = (host: number, count: number) =>
      Array.from({ length: count }, (_, i) => raw(b, `tcp://10.0.0.${host}:${40_000 + i}`, ofA));
    const [one, two, three] = [open(1, 5), open(2, 1), open(3, 3)];
    await settle();
    const taken = (ends: RawEnd[]) => ends.map(({ ended }) => ended === undefined);
    expect([taken(one), taken(two), taken(three)]).toEqual([
      [true, true, true, false, false],
      [true],
      [true, false, false],
    ]);
    expect(b.refused.length).toBeLessThan(4); // a flood fills no log
    await run(clock, 5_001); // those that were taken said nothing
    const again = open(1, 3);
    await settle();
    expect(taken(again)).toEqual([true, true, true]);
  });

  it("F76 all that is ended takes no more", async () => {
    const b = acceptor();
    await b.peers.close();
    const end = raw(b, "tcp://10.0.0.9:1", ofA);
    await settle();
    expect(refusalTo(end)).toBe("CLOSING");
    await expect(b.peers.connect(["memory:a"], {})).rejects.toMatchObject({ message: /b is ending/ });
  });
});
