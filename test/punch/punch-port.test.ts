// Real sockets on this machine: ports that are asked for, punched and handed over to QUIC.
import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ownHosts } from "../../core/punch/candidates.ts";
import { examineNat } from "../../core/punch/echo-client.ts";
import type { EchoPlace, Hole, Meeting, PunchPort } from "../../core/punch/hole.ts";
import { openPunchPort } from "../../core/punch/punch-port.ts";
import type { Link } from "../../core/transport.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { freeUdpPort } from "../transports/udp-support.ts";
import { EchoServer } from "./echo-server.ts";

const LIMIT = { limitMs: 3_000 };
const HAND_OVERS = 100;
const here = ownHosts().at(-1)!;
let echo: EchoServer;

beforeAll(async () => {
  echo = await EchoServer.start(here);
});
afterAll(() => echo[Symbol.dispose]());

/** Both are told of each other, `change` of what is not so. */
function meetingOf(a: PunchPort, b: PunchPort, change: Partial<Meeting> = {}): [Meeting, Meeting] {
  const shared = { meeting: randomBytes(8), key: randomBytes(32) };
  return [
    { ...shared, dials: true, ...b.place, ...change },
    { ...shared, dials: false, ...a.place, ...change },
  ];
}

async function openPair(places: readonly EchoPlace[]): Promise<[PunchPort, PunchPort]> {
  return await Promise.all([openPunchPort(places, LIMIT), openPunchPort(places, LIMIT)]);
}

async function punchPair(): Promise<[Hole, Hole]> {
  const [a, b] = await openPair([echo.place]);
  const [forA, forB] = meetingOf(a, b);
  return await Promise.all([a.punch(forA, LIMIT), b.punch(forB, LIMIT)]);
}

/** Open files of this process, sockets among them. */
function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

describe("F22 openPunchPort", () => {
  it("finds a way between two ports of one machine, which both name alike", async () => {
    const holes = await punchPair();
    const ports = holes.map(({ remote }) => Number(remote.split(":").at(-1)));
    expect(ports).toEqual([holes[1].localPort, holes[0].localPort]);
  });

  it("knows its candidates when no place is asked, at once", async () => {
    await using port = await openPunchPort([], LIMIT);
    expect(port.place.mapping).toBe("unknown");
    expect(port.place.candidates.some((each) => each.startsWith(`${here}:`))).toBe(true);
  });

  it("is blocked where nothing answers", async () => {
    const silent = { ...echo.place, ports: [await freeUdpPort(), await freeUdpPort()] };
    await using port = await openPunchPort([silent], { limitMs: 100 });
    expect(port.place.mapping).toBe("blocked");
  });

  it("names where it is seen outside last", async () => {
    using nat = await EchoServer.start(here, { lie: (_position, port) => ({ host: "198.51.100.7", port: port - 1 }) });
    await using port = await openPunchPort([nat.place], LIMIT);
    expect(port.place.mapping).toBe("independent");
    expect(port.place.candidates.at(-1)).toMatch(/^198\.51\.100\.7:/);
  });

  it("does not try what cannot be", async () => {
    using nat = await EchoServer.start(here, { lie: (position) => ({ host: "198.51.100.7", port: 5 + position }) });
    const [a] = await openPair([nat.place]);
    const other = { candidates: ["192.168.99.2:5", "203.0.113.1:5", "203.0.113.1:6"], mapping: "dependent" as const };
    const meeting = { meeting: randomBytes(8), key: randomBytes(32), dials: true, ...other };
    await expect(a.punch(meeting, LIMIT)).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("symmetric NAT"),
    });
  });

  it("says what it tried, and has closed its port then", async () => {
    const [a, b] = await openPair([echo.place]);
    await b[Symbol.asyncDispose]();
    const before = openFiles();
    const [forA] = meetingOf(a, b);
    await expect(a.punch(forA, { limitMs: 200 })).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringMatching(/within 200 ms: \d+ packets to .*; nothing came from it/),
    });
    expect(openFiles()).toBe(before - 1);
  });

  it("ends when it is told to, while asking and while punching", async () => {
    const before = openFiles();
    const silent = { ...echo.place, ports: [await freeUdpPort()] };
    const signal = AbortSignal.timeout(20);
    await expect(openPunchPort([silent], { limitMs: 60_000, signal })).rejects.toMatchObject({ code: "CANCELLED" });
    const [a, b] = await openPair([]);
    await b[Symbol.asyncDispose]();
    const [forA] = meetingOf(a, b);
    const limits = { limitMs: 60_000, signal: AbortSignal.timeout(20) };
    await expect(a.punch(forA, limits)).rejects.toMatchObject({ code: "CANCELLED" });
    await expect(openPunchPort([], { ...LIMIT, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "CANCELLED",
    });
    expect(openFiles()).toBe(before);
  });

  it("ends when it is closed", async () => {
    const [a, b] = await openPair([]);
    await b[Symbol.asyncDispose]();
    const [forA] = meetingOf(a, b);
    const punching = a.punch(forA, { limitMs: 60_000 });
    punching.catch(() => {});
    await a[Symbol.asyncDispose]();
    await expect(punching).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("tries many ports for four others at once, and no more", async () => {
    using nat = await EchoServer.start(here, { lie: (position) => ({ host: "198.51.100.7", port: 5 + position }) });
    await using deaf = await openPunchPort([], LIMIT);
    const before = openFiles();
    const ports = await Promise.all(Array.from({ length: 6 }, () => openPunchPort([nat.place], LIMIT)));
    const ending = new AbortController();
    const meeting = { meeting: randomBytes(8), key: randomBytes(32), dials: true, ...deaf.place };
    const ended = ports.map((port) => port.punch(meeting, { limitMs: 10_000, signal: ending.signal }).catch((e) => e));
    await until(() => openFiles() >= before + 6 + 4 * 256, { what: "4 times 256 sockets" });
    expect(openFiles()).toBe(before + 6 + 4 * 256);
    ending.abort();
    for (const error of await Promise.all(ended)) expect(error).toMatchObject({ code: "CANCELLED" });
    expect(openFiles()).toBe(before);
  });

  it("opens many sockets where its own NAT is symmetric, and closes all of them", async () => {
    using nat = await EchoServer.start(here, { lie: (position) => ({ host: "198.51.100.7", port: 5 + position }) });
    const before = openFiles();
    const port = await openPunchPort([nat.place], LIMIT);
    expect(port.place.mapping).toBe("dependent");
    // Somebody is there, but has another key.
    await using deaf = await openPunchPort([], LIMIT);
    const meeting = { meeting: randomBytes(8), key: randomBytes(32), dials: true };
    const ending = new AbortController();
    const punching = port.punch({ ...meeting, ...deaf.place }, { limitMs: 10_000, signal: ending.signal });
    punching.catch(() => {});
    await until(() => openFiles() > before + 250, { what: "256 sockets" });
    ending.abort();
    await expect(punching).rejects.toMatchObject({ code: "CANCELLED" });
    expect(openFiles()).toBe(before + 1);
  });
});

describe("F25 examineNat", () => {
  const nat = (position: number) => ({ host: "198.51.100.7", port: 5 + position });

  it("sees no NAT on this machine's own network", async () => {
    const kind = await examineNat([echo.place], LIMIT);
    expect(kind).toMatchObject({ mapping: "none", filtering: "open" });
    expect(kind.outside).toHaveLength(1);
  });

  it("tells a symmetric NAT that lets in only what it was sent to", async () => {
    using place = await EchoServer.start(here, { lie: nat, isRestricted: true });
    const kind = await examineNat([place.place], { limitMs: 300 });
    expect(kind).toEqual({
      mapping: "dependent",
      filtering: "restricted",
      outside: ["198.51.100.7:5", "198.51.100.7:6"],
    });
  });

  it("does not know what only one port says", async () => {
    using place = await EchoServer.start(here, { lie: nat, answering: [0], isRestricted: true });
    const kind = await examineNat([{ ...place.place, ports: place.place.ports.slice(0, 1) }], LIMIT);
    expect(kind).toMatchObject({ mapping: "unknown", filtering: "unknown" });
  });

  it("says that UDP is blocked", async () => {
    using place = await EchoServer.start(here, { answering: [] });
    expect(await examineNat([place.place], { limitMs: 100 })).toEqual({
      mapping: "blocked",
      filtering: "unknown",
      outside: [],
    });
  });
});

describe("F22 the hand-over to QUIC", () => {
  it(`works ${HAND_OVERS} times in a row: both take over the port, and one dials the other through the hole`, async () => {
    const ca = await TestCa.make();
    const [one, other] = [await ca.issue("node1"), await ca.issue("node2")];
    const [near, far] = [new UdpTransport({ credentials: () => one }), new UdpTransport({ credentials: () => other })];
    for (let i = 0; i < HAND_OVERS; i++) {
      const [a, b] = await openPair([echo.place]);
      const [forA, forB] = meetingOf(a, b);
      const accepted: Link[] = [];
      const listening = b
        .punch(forB, LIMIT)
        .then(({ localPort }) => far.listen(`punch://[::]:${localPort}`, (link) => accepted.push(link)));
      const { localPort, remote } = await a.punch(forA, LIMIT);
      const own = await near.listen(`punch://[::]:${localPort}`, () => {});
      const link = await near.dial(`punch://${remote}?from=${localPort}`);
      await until(() => accepted.length === 1, { what: "the link at the other side" });
      for (const each of [link, ...accepted]) each.destroy(new Error("the test is over"));
      await Promise.all([own.close(), (await listening).close()]);
    }
    expect([near.ports, far.ports]).toEqual([0, 0]);
  }, 60_000);
});
