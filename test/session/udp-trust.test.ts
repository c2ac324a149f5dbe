// X22, X23 over real UDP, where the greeting alone tells who somebody is: what is revoked, resumed, replayed, renewed.
import { afterEach, describe, expect, it } from "vitest";
import { type Credentials, identityFrom } from "../../core/identity/identity.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { quic } from "../transports/bare-quic.ts";
import { UdpServer } from "../transports/udp-support.ts";
import { MeshNodes } from "./mesh-nodes.ts";
import { UdpForwarder } from "./udp-forwarder.ts";

const ca = await TestCa.make();
const nodes = new MeshNodes(ca, (credentials) => new UdpTransport({ credentials }));
const QUICK = { timing: { heartbeatMs: 50, suspectAfterMs: 200, downAfterMs: 60_000 } };
const HOUR = 3_600_000;

afterEach(() => nodes.end());

const linkedTo = (address: string, name: string) => ({
  addresses: [address],
  name,
  role: "worker" as const,
  node: 200,
});

describe("X22 X23 revoked, over UDP", () => {
  it("X22 who was revoked gets no session, whichever side dials, and no frame of it is delivered", async () => {
    const [a, b] = [await nodes.make("a", 100), await nodes.make("b", 200)];
    b.peers.revoke((_, name) => name === "a");
    const refusal = { code: "AUTHENTICATION", message: expect.stringMatching(/a was revoked/) };
    await expect(a.peers.connect([b.listener.address], {}, { once: true })).rejects.toMatchObject(refusal);
    await expect(b.peers.connect([a.listener.address], {}, { once: true })).rejects.toMatchObject(refusal);
    expect([a.logs, b.logs]).toEqual([[], []]);
    const c = await nodes.make("c", 300);
    await c.peers.connect([b.listener.address], { name: "b" }, { once: true });
    await until(() => b.logs.length === 1, { what: "another's session" });
  });

  it("X23 a session ends when its peer is revoked, and is not resumed by a new link", async () => {
    const [a, b] = [await nodes.make("a", 100, QUICK), await nodes.make("b", 200, QUICK)];
    a.peers.to(linkedTo(b.listener.address, "b"));
    a.logs[0]!.main.send(100);
    await until(() => b.logs[0]?.main.got === 1, { what: "a frame" });
    b.peers.revoke((_, name) => name === "a");
    await until(() => a.logs[0]!.main.ends.length === 1, { what: "the end of the session" });
    expect(a.logs[0]!.main.ends[0]).toMatchObject({ message: expect.stringMatching(/revoked/) });
    const again = a.peers.connect([b.listener.address], {}, { once: true });
    await expect(again).rejects.toMatchObject({ code: "AUTHENTICATION" });
    expect(b.logs).toHaveLength(1);
  });

  it("X22 another node's certificate appended to the own chain changes nothing: it is who holds the key", async () => {
    const [evil, b] = [await nodes.make("evil", 100), await nodes.make("b", 200)];
    const [own, victim] = [await ca.issue("evil"), await ca.issue("victim")];
    evil.renew({ ...own, certificatePem: own.certificatePem + victim.certificatePem });
    await evil.peers.connect([b.listener.address], { name: "b" }, { once: true });
    await until(() => b.logs.length === 1, { what: "its session" });
    expect(b.logs[0]!.session.name).toBe("evil");
    const c = await nodes.make("c", 300);
    const meant = c.peers.connect([evil.listener.address], { name: "victim" }, { once: true });
    await expect(meant).rejects.toMatchObject({ message: expect.stringMatching(/victim was dialed.* evil answered/) });
  });
});

const server = await ca.issue("server");

/** Dials as a client that keeps tickets and says all it has to say in its first packets, as a link would begin. */
async function visit(address: string, sessionTicket?: Uint8Array) {
  const { QuicEndpoint, connect } = quic;
  const endpoint = new QuicEndpoint({ address: "127.0.0.1:0" });
  const tickets: Uint8Array[] = [];
  const session = await connect(address.slice("udp://".length), {
    endpoint,
    alpn: "mesh/1",
    servername: "mesh",
    ca: [Buffer.from(server.caPem)],
    verifyPeer: "strict",
    enableEarlyData: true,
    onsessionticket: (ticket: unknown) => void tickets.push(ticket as Uint8Array),
    ...(sessionTicket && { sessionTicket }),
  } as Parameters<typeof connect>[1]);
  session.onerror = () => {};
  session.closed.catch(() => {});
  for (const kind of [0, 1]) {
    const { writer } = await session.createBidirectionalStream();
    writer.writeSync(kind === 0 ? Buffer.from([0, 0, 0, 0, 3, 1, 2, 3]) : Buffer.from([1]));
  }
  const { earlyDataAccepted } = await session.opened;
  return { tickets, earlyDataAccepted, end: () => endpoint.destroy() };
}

it("X23 a ticket brings no early data in, whoever has it is still nobody, and packets of it said again make no link", async () => {
  await using at = await UdpServer.start(() => server);
  const first = await visit(at.address);
  await until(() => at.accepted.length === 1, { what: "the first link" });
  await until(() => first.tickets.length > 0, { what: "a ticket" });
  first.end();
  using forwarder = await UdpForwarder.start(at.address);
  const said: Uint8Array[] = [];
  forwarder.tap = (bytes) => void said.push(new Uint8Array(bytes));
  const second = await visit(forwarder.address, first.tickets[0]);
  expect(second.earlyDataAccepted).toBe(false);
  await until(() => at.accepted.length === 2, { what: "the second link" });
  expect(at.accepted[1]!.link.tls).toMatchObject({ peerCertificate: undefined, greetingDecides: true });
  const replayer = await Bun.udpSocket({ hostname: "127.0.0.1", socket: { error: () => {} } });
  for (let i = 0; i < 3; i++) for (const packet of said) replayer.send(packet, at.port, "127.0.0.1");
  expect(await at.answers(await ca.issue("client"))).toBe(true); // comes after them
  replayer.close();
  expect(at.accepted).toHaveLength(3);
  expect(at.accepted.slice(0, 2).map(({ texts }) => texts.length)).toEqual([1, 1]);
  second.end();
});

/** Of a certificate that was issued an hour ago for an hour, and a little more. */
const shortLived = (name: string, restMs: number) => ca.issue(name, { issuedInMs: -HOUR, validityMs: HOUR + restMs });

describe("F76 renewal, over UDP", () => {
  it("F76 sessions live on while both sides' certificates expire; links made then show the new ones, and old ones let nobody in", async () => {
    const [a, b] = [await nodes.make("a", 100, QUICK), await nodes.make("b", 200, QUICK)];
    const old = { a: await shortLived("a", 2_500), b: await shortLived("b", 2_500) };
    a.renew(old.a);
    b.renew(old.b);
    await until(async () => (await leafAt(b.listener.address)) === identityOf(old.b), {
      what: "b to show the old one",
    });
    const forwarder = await UdpForwarder.start(b.listener.address);
    const session = a.peers.to(linkedTo(forwarder.address, "b"));
    a.logs[0]!.main.send(100);
    await until(() => b.logs[0]?.main.got === 1, { what: "a frame" });
    const renewed = await ca.issue("b");
    b.renew(renewed);
    a.renew(await ca.issue("a"));
    await until(() => !isGood(old.a) && !isGood(old.b), { what: "the old ones to expire" });
    a.logs[0]!.main.send(100);
    await until(() => b.logs[0]!.main.got === 2, { what: "a frame on the old link" });
    expect(await leafAt(b.listener.address)).toBe(identityOf(renewed));
    forwarder[Symbol.dispose](); // the old link is dead
    session.addWays([b.listener.address]);
    a.logs[0]!.main.send(100);
    await until(() => b.logs[0]!.main.got === 3, { what: "a frame on a new link" });
    expect([a.logs.length, b.logs.length, b.logs[0]!.main.problem]).toEqual([1, 1, undefined]);
    const late = await nodes.make("late", 300);
    late.renew(old.a);
    await expect(late.peers.connect([b.listener.address], {}, { once: true })).rejects.toThrow(/expired/);
    b.renew(old.b);
    await until(async () => (await leafAt(b.listener.address)) === "nothing", { what: "b to be believed no more" });
  });
});

function identityOf(credentials: Credentials): string {
  return Buffer.from(identityFrom(credentials).certificate).toString("hex");
}

function isGood(credentials: Credentials): boolean {
  try {
    verifyCertificate(identityFrom(credentials).certificate, new Trust(ca.ca.trust(Date.now())), Date.now());
    return true;
  } catch {
    return false;
  }
}

/** What a node of the mesh is shown by who listens there; "nothing" when it is not believed. */
async function leafAt(address: string): Promise<string> {
  try {
    const link = await new UdpTransport({ credentials: () => server }).dial(address);
    link.destroy(new Error("seen"));
    return Buffer.from(link.tls!.peerCertificate!).toString("hex");
  } catch {
    return "nothing";
  }
}
