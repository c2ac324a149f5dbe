import tls from "node:tls";
import { expect, it } from "vitest";
import type { Credentials } from "../../core/identity/identity.ts";
import { certificatesIn } from "../../core/identity/pem.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End, leafOf, Server } from "./tcp-support.ts";

const ca = await TestCa.make();
const otherCa = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const stranger = () => new TcpTransport({ credentials: () => undefined });
const nodeWith = (credentials: Credentials) => new TcpTransport({ credentials: () => credentials });

/** As a node would be that does not check the server, and writes at once: a frame "hello". */
async function intrude(port: number, options: Record<string, unknown>): Promise<void> {
  const done = Promise.withResolvers<void>();
  await Bun.connect({
    hostname: "127.0.0.1",
    port,
    tls: { serverName: "mesh", rejectUnauthorized: false, ...options },
    socket: {
      handshake: (socket) => void socket.write(new Uint8Array([0, 0, 0, 5, 104, 101, 108, 108, 111])),
      data() {},
      error: () => done.resolve(),
      close: () => done.resolve(),
    },
  });
  await done.promise;
}

const shown = ({ caPem, certificatePem, keyPem }: Credentials, ...more: Credentials[]) => ({
  ca: caPem,
  cert: [certificatePem, ...more.map((other) => other.certificatePem)].join(""),
  key: keyPem,
});

it("F76: both sides see both leaf certificates before they get the link", async () => {
  await using at = await Server.start(() => server);
  const near = await nodeWith(client).dial(at.address);
  expect(Buffer.compare(near.tls!.ownCertificate, leafOf(client))).toBe(0);
  expect(Buffer.compare(near.tls!.peerCertificate!, leafOf(server))).toBe(0);
  await until(() => at.accepted.length === 1, { what: "the link" });
  const far = at.accepted[0]!.link;
  expect(Buffer.compare(far.tls!.ownCertificate, leafOf(server))).toBe(0);
  expect(Buffer.compare(far.tls!.peerCertificate!, leafOf(client))).toBe(0);
  near.close();
});

const other = await otherCa.issue("other");
const REFUSED: [what: string, options: Record<string, unknown>, words: RegExp][] = [
  ["no certificate", {}, /showed no certificate/],
  ["a certificate of another CA", shown(other), /not signed by a CA this side trusts/],
  ["an expired certificate", shown(await ca.expired("old")), /has expired.*a clock is wrong/],
  ["a certificate of the future", shown(await ca.future("new")), /not valid yet: a clock is wrong/],
  ["a certificate for servers only", shown(await ca.odd({ usages: ["server"] })), /may not be used for this/],
  ["a certificate of another CA, ours appended", shown(other, client), /not signed by a CA this side trusts/],
];

it.each(REFUSED)("X22: a client with %s gets no byte in, and the listener lives on", async (_, options, words) => {
  await using at = await Server.start(() => server);
  await intrude(at.port, options);
  const refusal = await at.refused();
  expect(refusal).toMatchObject({ code: "AUTHENTICATION", message: expect.stringMatching(words) });
  expect(at.accepted).toEqual([]);
  expect(await at.answers(client)).toBe(true);
});

it("X22: another node's certificate appended changes nothing: who holds the key is who it is", async () => {
  await using at = await Server.start(() => server);
  const chain = { ...client, certificatePem: client.certificatePem + server.certificatePem + other.certificatePem };
  const near = new End(await nodeWith(chain).dial(at.address));
  await until(() => at.accepted.length === 1, { what: "the link" });
  expect(Buffer.compare(at.accepted[0]!.link.tls!.peerCertificate!, leafOf(client))).toBe(0);
  expect(Buffer.compare(near.link.tls!.ownCertificate, leafOf(client))).toBe(0);
  near.link.close();
});

it("X22: a node whose certificate was refused hears a broken link that says what it may be", async () => {
  await using at = await Server.start(() => server);
  const near = new End(await nodeWith(await ca.expired("old")).dial(at.address));
  expect(await near.ended()).toMatchObject({
    code: "LINK_CLOSED",
    message: expect.stringMatching(/before it said anything: it may not accept this side's certificate/),
  });
});

const SERVERS: [what: string, credentials: Credentials, words: RegExp][] = [
  ["a certificate of another CA", other, /not signed by a CA this side trusts/],
  ["an expired certificate", await ca.expired("old"), /has expired.*a clock is wrong/],
  ["a certificate of the future", await ca.future("new"), /not valid yet: a clock is wrong/],
  ["a certificate for clients only", await ca.odd({ usages: ["client"] }), /may not be used for this/],
  ["a certificate of another DNS name", await ca.odd({ dns: "example.net" }), /something else answers there/],
];

it.each(SERVERS)("X22: a server with %s is not trusted by who dials", async (_, credentials, words) => {
  await using at = await Server.start(() => credentials);
  const refusal = expect.objectContaining({ code: "AUTHENTICATION", message: expect.stringMatching(words) });
  await expect(nodeWith(client).dial(at.address)).rejects.toEqual(refusal);
  expect(at.accepted).toEqual([]);
});

it("TcpTransport: TLS 1.2 is refused", async () => {
  await using at = await Server.start(() => server);
  await intrude(at.port, { ...shown(client), maxVersion: 0x0303 });
  expect(await at.refused()).toMatchObject({ code: "PROTOCOL", message: expect.stringMatching(/TLS failed/) });
  expect(at.accepted).toEqual([]);
});

it("X23: no ticket is given, so that nobody comes back without a certificate", async () => {
  await using at = await Server.start(() => server);
  const socket = tls.connect({ host: "127.0.0.1", port: at.port, servername: "mesh", ...shown(client) });
  const sessions: Buffer[] = [];
  socket.on("session", (session) => sessions.push(session));
  await until(() => at.accepted.length === 1, { what: "the link" });
  at.accepted[0]!.send("tickets come before this");
  await new Promise((resolve) => socket.once("data", resolve));
  expect(sessions).toEqual([]);
  socket.destroy();
});

it("TcpTransport: renewed credentials count from the next connection on; the port and older links stay", async () => {
  let current = server;
  await using at = await Server.start(() => current);
  const before = new End(await nodeWith(client).dial(at.address));
  const renewed = await ca.issue("server");
  current = renewed;
  const after = new End(await nodeWith(client).dial(at.address));
  expect(Buffer.compare(before.link.tls!.peerCertificate!, leafOf(server))).toBe(0);
  expect(Buffer.compare(after.link.tls!.peerCertificate!, leafOf(renewed))).toBe(0);
  await until(() => at.accepted.length === 2, { what: "both links" });
  before.send("old");
  after.send("new");
  await until(() => at.accepted.every(({ texts }) => texts.length === 1), { what: "a frame on each" });
  for (const { link } of [before, after]) link.close();
});

it("TcpTransport: while a CA is replaced, certificates of both are good; afterwards only those of the new one", async () => {
  const rotating = await TestCa.make();
  const old = await rotating.issue("old");
  await rotating.rotate();
  const fresh = await rotating.issue("fresh");
  const overlap = { ...old, caPem: fresh.caPem };
  let current: Credentials = fresh;
  await using at = await Server.start(() => current);
  expect(await at.answers(overlap)).toBe(true);
  expect(await at.answers(fresh)).toBe(true);
  current = overlap;
  expect(await at.answers(fresh)).toBe(true);
  current = { ...fresh, caPem: certificatesIn(fresh.caPem)[0]! }; // the one that signs now comes first
  const late = new End(await nodeWith(overlap).dial(at.address));
  expect(await late.ended()).toMatchObject({ code: "LINK_CLOSED" });
  expect(await at.answers(fresh)).toBe(true);
});

it("TcpTransport: a listener that admits strangers tells them from nodes", async () => {
  await using at = await Server.start(() => server, { admitsStrangers: true });
  const near = new End(await stranger().dial(at.address));
  expect(Buffer.compare(near.link.tls!.peerCertificate!, leafOf(server))).toBe(0);
  expect(near.link.tls!.ownCertificate).toHaveLength(0);
  near.send("may I?");
  await until(() => at.accepted[0]?.texts.length === 1, { what: "the question" });
  expect(at.accepted[0]!.link.tls!.peerCertificate).toBeUndefined();
  at.accepted[0]!.send("you may");
  await until(() => near.texts.length === 1, { what: "the answer" });
  near.link.close();

  for (const [index, bad] of [other, await ca.expired("old")].entries()) {
    const end = new End(await nodeWith({ ...bad, caPem: server.caPem }).dial(at.address));
    await until(() => at.accepted.length === 2 + index, { what: "a link" });
    expect(at.accepted.at(-1)!.link.tls!.peerCertificate).toBeUndefined();
    end.link.close();
  }
  const known = await nodeWith(client).dial(at.address);
  await until(() => at.accepted.length === 4, { what: "a node's link" });
  expect(Buffer.compare(at.accepted[3]!.link.tls!.peerCertificate!, leafOf(client))).toBe(0);
  known.close();
});

it("X18: a stranger's frames are small, a node's are not", async () => {
  await using at = await Server.start(() => server, { admitsStrangers: true });
  const near = new End(await stranger().dial(at.address));
  near.link.send(new Uint8Array(4_096).fill(120));
  await until(() => at.accepted[0]?.texts.length === 1, { what: "a small frame" });
  near.link.send(new Uint8Array(4_097));
  expect(await at.accepted[0]!.ended()).toMatchObject({
    code: "PROTOCOL",
    message: expect.stringMatching(/allowed are 1 to 4096/),
  });
  const known = await nodeWith(client).dial(at.address);
  known.send(new Uint8Array(1_000_000).fill(120));
  await until(() => at.accepted[1]?.texts.length === 1, { what: "a large frame" });
  known.close();
});

it("TcpTransport: a stranger's dial is refused where none are admitted", async () => {
  await using at = await Server.start(() => server);
  const near = new End(await stranger().dial(at.address));
  expect(await near.ended()).toMatchObject({
    code: "AUTHENTICATION",
    message: expect.stringMatching(/asks for a certificate.*join with a token first/),
  });
});

it("TcpTransport: without credentials there is no listening", async () => {
  await expect(stranger().listen("tcp://127.0.0.1:0", () => {})).rejects.toMatchObject({ code: "AUTHENTICATION" });
});

it("TcpTransport: own credentials that cannot be read are told as such, on both sides", async () => {
  let current = server;
  await using at = await Server.start(() => current);
  const broken = { ...client, keyPem: client.keyPem.replace(/[A-Za-z]{8}/, "") };
  const refusal = {
    code: "AUTHENTICATION",
    message: expect.stringMatching(/own certificate, key or CA cannot be used/),
  };
  await expect(nodeWith(broken).dial(at.address)).rejects.toMatchObject(refusal);
  current = broken;
  await expect(nodeWith(client).dial(at.address)).rejects.toMatchObject({ code: "UNREACHABLE" });
  expect(await at.refused()).toMatchObject(refusal);
  current = server;
  expect(await at.answers(client)).toBe(true);
});

it("X22: credentials without a certificate or CA make nobody a stranger who trusts all", async () => {
  await using at = await Server.start(() => other);
  for (const broken of [
    { ...client, certificatePem: "" },
    { ...client, caPem: "" },
  ]) {
    const refusal = { code: "AUTHENTICATION", message: expect.stringMatching(/not in PEM/) };
    await expect(nodeWith(broken).dial(at.address)).rejects.toMatchObject(refusal);
    await expect(nodeWith(broken).listen("tcp://127.0.0.1:0", () => {})).rejects.toMatchObject(refusal);
  }
});

it("X35: NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment changes nothing", async () => {
  await using at = await Server.start(() => other);
  const path = new URL("../fixtures/transports/dial.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, path, at.address], {
    env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_NO_WARNINGS: "1" },
    stdin: new Blob([JSON.stringify(client)]),
    stdout: "pipe",
  });
  expect(JSON.parse(await new Response(child.stdout).text())).toMatchObject({ code: "AUTHENTICATION" });
  expect(at.accepted).toEqual([]);
});
