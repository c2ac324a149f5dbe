// Real sockets on this machine: ports that are asked for, punched and handed over to QUIC.
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ownHosts } from "../../core/punch/candidates.ts";
import { examineNat } from "../../core/punch/echo-client.ts";
import type { Hole, Meeting, PunchPort } from "../../core/punch/hole.ts";
import { openPunchPort } from "../../core/punch/punch-port.ts";
import { EchoServer } from "./echo-server.ts";

const LIMIT = { limitMs: 3_000 };
const here = ownHosts().at(-1)!;
let echo: EchoServer;

beforeAll(async () => {
  echo = await EchoServer.start(here);
});
afterAll(() => echo[Symbol.dispose]());

function meetingOf(a: PunchPort, b: PunchPort): [Meeting, Meeting] {
  const shared = { meeting: randomBytes(8), key: randomBytes(32) };
  return [
    { ...shared, dials: true, ...b.place },
    { ...shared, dials: false, ...a.place },
  ];
}

describe("openPunchPort", () => {
  it("F22 openPunchPort: two ports of one machine find each other, and both name the same way", async () => {
    const [a, b] = await Promise.all([openPunchPort([echo.place], LIMIT), openPunchPort([echo.place], LIMIT)]);
    const [forA, forB] = meetingOf(a, b);
    const holes: [Hole, Hole] = await Promise.all([a.punch(forA, LIMIT), b.punch(forB, LIMIT)]);
    const ports = holes.map(({ remote }) => Number(remote.split(":").at(-1)));
    expect(ports).toEqual([holes[1].localPort, holes[0].localPort]);
  });

  it("F25 examineNat: a place on this machine's own network sees no NAT", async () => {
    const kind = await examineNat([echo.place], LIMIT);
    expect([kind.mapping, kind.filtering, kind.outside.length]).toEqual(["none", "open", 1]);
  });
});
