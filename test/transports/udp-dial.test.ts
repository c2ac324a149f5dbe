import { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";
import type { Credentials } from "../../core/identity/identity.ts";
import { tryDial, tryListen } from "../../transports/try-address.ts";
import { canReach } from "../../transports/udp/endpoints.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End, leafOf } from "./tcp-support.ts";
import { freeUdpPort, UdpServer } from "./udp-support.ts";

const ca = await TestCa.make();
const otherCa = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const other = await otherCa.issue("other");
const nodeWith = (credentials: Credentials) => new UdpTransport({ credentials: () => credentials });
const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ family }) => family === "IPv6"));
const words = (text: RegExp) => expect.stringMatching(text);

describe("UdpTransport dialing", () => {
  it.skipIf(!hasIpv6)("dials IPv6, and hears at once where nothing listens there", async () => {
    await using at = await UdpServer.start(() => server, {}, "udp://[::1]:0");
    const near = new End(await nodeWith(client).dial(at.address));
    await until(() => at.accepted.length === 1, { what: "the link" });
    expect(at.accepted[0]!.link.label).toMatch(/^udp:\/\/\[::1\]:\d+$/);
    near.link.close();
    await near.ended();
    await at.listener.close();
    const failure = await nodeWith(client)
      .dial(at.address)
      .catch((error) => error);
    expect(failure).toMatchObject({ code: "UNREACHABLE", cause: { code: "ECONNREFUSED" } });
  });

  it("is UNREACHABLE at once where nothing listens, and says so", async () => {
    const address = `udp://127.0.0.1:${await freeUdpPort()}`;
    const failure = await nodeWith(client)
      .dial(address)
      .catch((error) => error);
    expect(failure).toMatchObject({ code: "UNREACHABLE", message: words(/nothing listens there.*listening on UDP/) });
    expect(failure.cause).toMatchObject({ code: "ECONNREFUSED" });
  });

  it("is TIMEOUT where nobody answers, CANCELLED when it was cancelled, and leaves no port behind", async () => {
    const silent = await Bun.udpSocket({ hostname: "127.0.0.1" });
    const address = `udp://127.0.0.1:${silent.port}`;
    const transport = nodeWith(client);
    await expect(transport.dial(address, { timeoutMs: 100 })).rejects.toMatchObject({
      code: "TIMEOUT",
      message: words(/did not answer within 100 ms.*firewall or router drops UDP/),
    });
    const abort = new AbortController();
    const dialing = transport.dial(address, { signal: abort.signal });
    abort.abort();
    await expect(dialing).rejects.toMatchObject({ code: "CANCELLED" });
    await until(() => transport.ports === 0, { what: "the ports to be free" });
    silent.close();
  });

  it("is UNREACHABLE for a name nobody knows, an address of another form, and a listener that is closed", async () => {
    const transport = new UdpTransport({ credentials: () => client, resolve: async () => [] });
    await expect(transport.dial("udp://nowhere:1")).rejects.toMatchObject({ code: "UNREACHABLE" });
    await expect(transport.dial("tcp://127.0.0.1:1")).rejects.toMatchObject({ message: words(/no UDP address/) });
    await using at = await UdpServer.start(() => server);
    const near = new End(await nodeWith(client).dial(at.address));
    await until(() => at.accepted.length === 1, { what: "the link" });
    await at.listener.close();
    await expect(nodeWith(client).dial(at.address)).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: words(/takes no more connections/),
    });
    near.send("still there");
    await until(() => at.accepted[0]!.texts.length === 1, { what: "a frame on the old link" });
    near.link.close();
  });

  it("tries the addresses of a name side by side, IPv4 ones also from a socket of IPv6", async () => {
    await using at = await UdpServer.start(() => server, {}, "udp://[::]:0");
    const resolve = async () => ["::ffff:192.0.2.1", "127.0.0.1"].slice(1);
    const transport = new UdpTransport({ credentials: () => client, resolve });
    const near = new End(await transport.dial(`udp://many:${at.port}`));
    await until(() => at.accepted.length === 1, { what: "the link" });
    expect(at.accepted[0]!.link.label).toMatch(/^udp:\/\/127\.0\.0\.1:\d+$/);
    near.link.close();
    await near.ended();
  });

  it("F22 goes from the port that this node listens on, and from another one when that has enough", async () => {
    await using at = await UdpServer.start(() => server);
    const transport = new UdpTransport({ credentials: () => client, perEndpoint: 2 });
    const listener = await transport.listen("udp://127.0.0.1:0", () => {});
    const links = [];
    for (let i = 0; i < 5; i++) links.push(new End(await transport.dial(at.address)));
    await until(() => at.accepted.length === 5, { what: "all links" });
    const ports = at.accepted.map(({ link }) => link.label.split(":").at(-1));
    const own = listener.address.split(":").at(-1);
    expect(ports.map((port) => port === own)).toEqual([true, true, false, false, false]);
    expect(new Set(ports).size).toBe(3);
    expect(transport.ports).toBe(3);
    for (const { link } of links) link.close();
    await Promise.all(links.map((end) => end.ended()));
    await listener.close();
    await until(() => transport.ports === 0, { what: "the ports to be free" });
  });

  it.each([
    ["[::] reaches all", "::", "10.0.0.5", true],
    ["0.0.0.0 reaches no IPv6", "0.0.0.0", "fd00::5", false],
    ["loopback reaches loopback alone", "127.0.0.1", "10.0.0.5", false],
    ["an address of a LAN reaches others", "10.0.0.4", "10.0.0.5", true],
    ["an address of a LAN does not reach loopback", "10.0.0.4", "127.0.0.1", false],
  ])("canReach: %s", (_, from, to, reaches) => {
    expect(canReach({ host: from, port: 7450 }, { host: to, port: 7460 })).toBe(reaches);
  });
});

const SERVERS: [what: string, credentials: Credentials][] = [
  ["a certificate of another CA", other],
  ["an expired certificate", await ca.expired("old")],
  ["a certificate of the future", await ca.future("new")],
  ["a certificate for clients only", await ca.odd({ usages: ["client"] })],
  ["a certificate of another DNS name", await ca.odd({ dns: "example.net" })],
  [
    "a certificate of another CA, ours appended",
    { ...other, certificatePem: other.certificatePem + client.certificatePem },
  ],
];

describe("UdpTransport certificates", () => {
  it.each(SERVERS)("X22 a server with %s is not trusted by who dials", async (_, credentials) => {
    await using at = await UdpServer.start(() => credentials);
    const refusal = { code: "AUTHENTICATION", message: words(/no trust in what answers.*certificate does not hold/) };
    await expect(nodeWith(client).dial(at.address)).rejects.toMatchObject(refusal);
    expect(at.accepted).toEqual([]);
  });

  it("X22 other certificates appended to the server's change nothing: who holds the key is who it is", async () => {
    const chain = { ...server, certificatePem: server.certificatePem + client.certificatePem + other.certificatePem };
    await using at = await UdpServer.start(() => chain);
    const near = await nodeWith(client).dial(at.address);
    await until(() => at.accepted.length === 1, { what: "the link" });
    expect(Buffer.compare(near.tls!.peerCertificate!, leafOf(server))).toBe(0);
    expect(Buffer.compare(at.accepted[0]!.link.tls!.ownCertificate, leafOf(server))).toBe(0);
    near.destroy(new Error("over"));
  });

  it("X22 the dialed side learns nothing of who dials from TLS, whatever certificate that one has", async () => {
    await using at = await UdpServer.start(() => server);
    for (const credentials of [() => client, () => undefined]) {
      const near = await new UdpTransport({ credentials }).dial(at.address);
      await until(() => at.accepted.length > 0, { what: "the link" });
      const { link } = at.accepted.pop()!;
      expect(link.tls).toMatchObject({ peerCertificate: undefined, greetingDecides: true });
      near.destroy(new Error("over"));
    }
  });

  it("F76 renewed credentials and another CA count from the next connection on; the port and older links stay", async () => {
    const rotating = await TestCa.make();
    const old = await rotating.issue("server");
    let current = old;
    await using at = await UdpServer.start(() => current);
    const before = new End(await nodeWith(await rotating.issue("client")).dial(at.address));
    await rotating.rotate();
    current = await rotating.issue("server");
    const newcomer = nodeWith(await rotating.issue("late"));
    let shown: Uint8Array | undefined;
    await until(
      async () => {
        const near = await newcomer.dial(at.address);
        shown = near.tls!.peerCertificate;
        near.destroy(new Error("over"));
        return Buffer.compare(shown!, leafOf(current)) === 0;
      },
      { what: "the renewed certificate" },
    );
    before.send("old");
    await until(() => at.accepted[0]!.texts.length === 1, { what: "a frame on the old link" });
    before.link.close();
  });

  it("says what is wrong with the own side: no certificate, one that cannot be read, a port that is taken or forbidden", async () => {
    const stranger = new UdpTransport({ credentials: () => undefined });
    await expect(stranger.listen("udp://127.0.0.1:0", () => {})).rejects.toMatchObject({ code: "AUTHENTICATION" });
    for (const broken of [
      { ...client, certificatePem: "" },
      { ...client, caPem: "" },
      { ...client, keyPem: client.keyPem.replace(/[A-Za-z]{8}/, "") },
    ]) {
      await expect(nodeWith(broken).dial("udp://127.0.0.1:9")).rejects.toMatchObject({ code: "AUTHENTICATION" });
      await expect(nodeWith(broken).listen("udp://127.0.0.1:0", () => {})).rejects.toMatchObject({
        code: "AUTHENTICATION",
      });
    }
    await using at = await UdpServer.start(() => server);
    await expect(nodeWith(server).listen(at.address, () => {})).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: words(/the port is taken/),
    });
    await expect(nodeWith(server).listen("udp://192.0.2.1:0", () => {})).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: words(/no such address/),
    });
    expect(await at.answers(client)).toBe(true);
  });
});

it("F98 what mesh doctor asks: whether an address can be listened on, and whether anybody answers there", async () => {
  await using at = await UdpServer.start(() => server);
  expect(await tryListen("udp://127.0.0.1:0")).toBeUndefined();
  expect(await tryListen(at.address)).toMatchObject({ code: "UNREACHABLE", message: words(/the port is taken/) });
  expect((await tryDial(at.address, 2_000)).tookMs).toBeGreaterThan(0);
  const nowhere = `udp://127.0.0.1:${await freeUdpPort()}`;
  expect(await tryDial(nowhere, 2_000)).toEqual({ address: nowhere, code: "ECONNREFUSED" });
});
