// What transports/udp/quic.ts covers of node:quic, seen at the bare API: a test that fails here says that the runtime has changed, and
// that what was done about it may go, or must be done otherwise.
import type { QuicSession, QuicStream } from "node:quic";
import { afterEach, expect, it } from "vitest";
import { TestPort } from "../rendezvous/support.ts";
import { UdpForwarder } from "../session/udp-forwarder.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { bare, client, destroyAll, dial, portOf, quic, serve, server, shownBy } from "./bare-quic.ts";
import { firstPackets } from "./udp-support.ts";

const other = await (await TestCa.make()).issue("other");
const MIB = 1024 * 1024;
const asksForCertificates = { ca: [Buffer.from(server.caPem)], verifyClient: true, rejectUnauthorized: true };

afterEach(destroyAll);

it("node:quic: a client's appended certificate passes for its own on the server's side, even one that our CA never signed", async () => {
  let shown: string | undefined;
  const at = await serve((session) => {
    void session.opened.then(() => {
      shown = session.peerCertificate?.subjectAltName;
    });
  }, asksForCertificates);
  const chain = { ...client, certificatePem: client.certificatePem + other.certificatePem };
  await (await dial(portOf(at), shownBy(chain))).opened;
  await until(() => shown !== undefined, { what: "the certificate" });
  expect(shown).toContain("/worker/other");
});

it("node:quic: after setSNIContexts no client is asked for its certificate, so that with verifyClient none gets in", async () => {
  const at = await serve(() => {}, asksForCertificates);
  at.setSNIContexts({ "*": shownBy(server) }, { replace: true });
  const session = await dial(portOf(at), shownBy(client));
  await expect(session.closed).rejects.toThrow(/did not provide a certificate/);
});

it("node:quic: listening on a port that is taken does not throw", async () => {
  const at = await serve(() => {});
  const second = await serve(() => {}, {}, bare(`127.0.0.1:${portOf(at)}`));
  expect(second.address).toBeUndefined();
  await expect(second.closed).rejects.toThrow(/\(98\)/);
});

it("node:quic: a stream that nobody reads takes all that is sent", async () => {
  let unread: QuicStream | undefined;
  const at = await serve((session) => {
    session.onstream = (stream) => {
      unread = stream;
    };
  });
  const session = await dial(portOf(at), { maxStreamWindow: MIB, maxWindow: MIB });
  await session.opened;
  const { writer } = await session.createBidirectionalStream();
  const drainable = writer as typeof writer & Record<symbol, () => Promise<unknown> | null>;
  for (let left = 48 * MIB; left > 0; ) {
    if (writer.writeSync(new Uint8Array(65_536))) left -= 65_536;
    else await drainable[Symbol.for("Stream.drainableProtocol")]!();
  }
  await until(() => Number(unread?.stats.bytesReceived ?? 0) > 40 * MIB, { what: "what nobody reads to arrive" });
});

it("node:quic: a peer that fell silent looks as if it had ended on purpose, and its streams as if all had come", async () => {
  let ended: number | undefined;
  const idle = { transportParams: { maxIdleTimeout: 1 } };
  const at = await serve((session) => {
    session.onstream = async (stream) => {
      let bytes = 0;
      for await (const batch of stream) for (const chunk of batch) bytes += chunk.length;
      ended = bytes;
    };
  }, idle);
  const forwarder = await UdpForwarder.start(`udp://127.0.0.1:${portOf(at)}`);
  const session = await dial(Number(forwarder.address.split(":").at(-1)), idle);
  await session.opened;
  const stream = await session.createBidirectionalStream();
  stream.closed.catch(() => {});
  stream.writer.writeSync(new Uint8Array(10));
  await until(() => forwarder.forwarded > 0 && stream.stats.bytesSent > 0n, { what: "the bytes to be sent" });
  forwarder[Symbol.dispose]();
  await expect(session.closed).resolves.toBeUndefined();
  await until(() => ended !== undefined, { what: "the end of the stream" });
});

it("node:quic: strict verification says nothing of its reason", async () => {
  const at = await serve(() => {}, { sni: { "*": shownBy(other) } });
  await expect((await dial(portOf(at))).opened).rejects.toMatchObject({ code: "ERR_INVALID_STATE" });
});

it("node:quic: a peer whose port is gone stops what its endpoint sends to anybody", async () => {
  const streams: QuicStream[] = [];
  const at = await serve((session) => {
    session.onstream = (stream) => void streams.push(stream);
  });
  const forwarder = await UdpForwarder.start(`udp://127.0.0.1:${portOf(at)}`);
  const gone = await dial(Number(forwarder.address.split(":").at(-1)));
  await gone.opened;
  (await gone.createBidirectionalStream()).writer.writeSync(new Uint8Array(1));
  await until(() => streams.length === 1, { what: "the stream" });
  forwarder[Symbol.dispose]();
  let late = 0;
  for (let i = 0; i < 8 && late === 0; i++) {
    streams[0]!.writer.writeSync(new Uint8Array(8_192)); // several packets
    const opened = (await dial(portOf(at))).opened.then(() => 0);
    late += await Promise.race([opened, Bun.sleep(800).then(() => 1)]);
  }
  expect(late).toBe(1);
});

it("node:quic: a throw in what hears of sessions ends the whole endpoint", async () => {
  const at = await serve(() => {
    throw new Error("a bug");
  });
  await dial(portOf(at));
  await expect(at.closed).rejects.toThrow("a bug");
});

it("node:quic: a session whose ends nobody waits for takes its process with it, when the peer says that it broke", async () => {
  const code = `
    import { TestCa } from ${JSON.stringify(new URL("../support/certificates.ts", import.meta.url).pathname)};
    import { createPrivateKey } from "node:crypto";
    import { listen, QuicEndpoint } from "node:quic";
    const { keyPem, certificatePem } = await (await TestCa.make()).issue("server");
    const endpoint = new QuicEndpoint({ address: "127.0.0.1:0" });
    const sni = { "*": { keys: [createPrivateKey(keyPem)], certs: [Buffer.from(certificatePem)] } };
    await listen(() => {}, { endpoint, alpn: ["test"], sni });
    console.log(endpoint.address.port);`;
  const child = Bun.spawn([process.execPath, "-e", code], { stdout: "pipe", stderr: "ignore" });
  try {
    const { value } = await child.stdout.getReader().read();
    const session = await dial(Number(new TextDecoder().decode(value)), { verifyPeer: "manual" });
    await session.opened;
    session.destroy(undefined, { code: 1, type: "application", reason: "broken" });
    expect(await child.exited).toBe(1);
  } finally {
    child.kill();
  }
});

it("node:quic: a session that was asked for its path too early never knows it", async () => {
  const sessions: QuicSession[] = [];
  const at = await serve((session) => {
    if (sessions.push(session) === 1) void session.path;
  });
  for (let i = 0; i < 2; i++) await (await dial(portOf(at))).opened;
  await Promise.all(sessions.map(({ opened }) => opened));
  expect(sessions.map(({ path }) => path?.remote?.port !== undefined)).toEqual([false, true]);
});

it("node:quic: the end of an endpoint is told to nobody", async () => {
  const at = await serve(() => {});
  const session = await dial(portOf(at), { transportParams: { maxIdleTimeout: 1 } });
  await session.opened;
  const begin = performance.now();
  at.destroy();
  await session.closed;
  expect(performance.now() - begin).toBeGreaterThan(500); // it was the idle timeout
});

it("node:quic: a limit for each host is ignored, and so is that a port may be shared", async () => {
  const at = await serve(() => {}, {}, bare("127.0.0.1:0", { maxConnectionsPerHost: 1, reusePort: true }));
  for (let i = 0; i < 3; i++) await (await dial(portOf(at))).opened;
  const second = await serve(() => {}, {}, bare(`127.0.0.1:${portOf(at)}`, { reusePort: true }));
  expect(second.address).toBeUndefined();
});

it("node:quic: tickets are given to everybody who does not say otherwise", async () => {
  const at = await serve(() => {});
  let isGiven = false;
  const onsessionticket = () => {
    isGiven = true;
  };
  await (await dial(portOf(at), { onsessionticket })).opened;
  await until(() => isGiven, { what: "a ticket" });
});

it("node:quic: an address of IPv4 is not reached from a socket of both as it is", async () => {
  const at = await serve(() => {}, {}, bare("0.0.0.0:0"));
  const session = await dial(portOf(at), { endpoint: bare("[::]:0"), handshakeTimeout: 300 });
  await expect(session.opened).rejects.toThrow(/timed out/);
});

it("node:quic: a full stream takes nothing: false from one call, an error from the other", async () => {
  const at = await serve(() => {});
  const session = await dial(portOf(at));
  await session.opened;
  const { writer } = await session.createBidirectionalStream({ highWaterMark: 65_536 });
  let taken = 0;
  while (writer.writeSync(new Uint8Array(32_768))) taken++;
  expect(taken).toBe(2);
  await expect(writer.write(new Uint8Array(32_768))).rejects.toMatchObject({ code: "ERR_INVALID_STATE" });
});

it("node:quic: a port has a copy of all public CAs, 0.8 MB, unless it was given one", async () => {
  const costMb = async (more: object) => {
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 20; i++) await serve(() => {}, more);
    return (process.memoryUsage.rss() - before) / 20e6;
  };
  const own = { ca: [Buffer.from(server.caPem)] };
  await costMb(own);
  expect(await costMb({})).toBeGreaterThan(0.5);
  expect(await costMb(own)).toBeLessThan(0.4);
});

it("node:quic: no endpoint lets its process end", () => {
  expect("unref" in quic.QuicEndpoint.prototype).toBe(false);
});

it("node:quic: nothing keeps a server from its two answers to a first packet: no cut, no limit, and no proof of the address is asked for", async () => {
  const [packet] = await firstPackets(1, client);
  const endpoint = bare("127.0.0.1:0", { validateAddress: true, maxConnectionsTotal: 1 });
  const at = await serve((session) => session.destroy(), { alpn: ["mesh/1"] }, endpoint);
  at.busy = true;
  using victim = await TestPort.open("127.0.0.2");
  victim.send(packet!, portOf(at));
  await until(() => victim.got.length === 2, { what: "two answers" });
  const isRetry = ({ bytes }: { bytes: Uint8Array }) => (bytes[0]! & 0xf0) === 0xf0;
  expect(victim.got.map(isRetry)).toEqual([false, false]);
});
