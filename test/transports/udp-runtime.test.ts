// What transports/udp/quic.ts covers of node:quic, seen at the bare API: a test that fails here says that the runtime has changed, and
// that what was done about it may go, or must be done otherwise.
import { createPrivateKey } from "node:crypto";
import type { QuicEndpoint, QuicSession, QuicStream, SessionOptions } from "node:quic";
import { afterEach, expect, it } from "vitest";
import type { Credentials } from "../../core/identity/identity.ts";
import { TRUSTS_ANYBODY, UdpIdentity } from "../../transports/udp/identity.ts";
import { type Connection, Endpoint } from "../../transports/udp/quic.ts";
import { UdpForwarder } from "../session/udp-forwarder.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";

const ca = await TestCa.make();
const otherCa = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const other = await otherCa.issue("other");
new Endpoint({ host: "127.0.0.1", port: 0 }); // loads it without its warning
const quic = process.getBuiltinModule("node:quic") as typeof import("node:quic");
const MIB = 1024 * 1024;
const endpoints: QuicEndpoint[] = [];

afterEach(() => {
  for (const endpoint of endpoints.splice(0)) endpoint.destroy();
});

function bare(address = "127.0.0.1:0"): QuicEndpoint {
  const endpoint = new quic.QuicEndpoint({ address });
  endpoint.closed.catch(() => {});
  endpoints.push(endpoint);
  return endpoint;
}

function calm(session: QuicSession): QuicSession {
  session.onerror = () => {};
  session.opened.catch(() => {});
  session.closed.catch(() => {});
  return session;
}

const shownBy = ({ keyPem, certificatePem }: Credentials) => ({
  keys: [createPrivateKey(keyPem)],
  certs: [Buffer.from(certificatePem)],
});

async function serve(
  on: (session: QuicSession) => void,
  more: SessionOptions = {},
  endpoint = bare(),
): Promise<QuicEndpoint> {
  const sni = { "*": shownBy(server) };
  return await quic.listen((session) => on(calm(session)), { endpoint, alpn: ["test"], sni, ...more });
}

async function dial(port: number, more: SessionOptions = {}): Promise<QuicSession> {
  const ours = { endpoint: bare(), alpn: "test", servername: "mesh", ca: [Buffer.from(client.caPem)] };
  return calm(await quic.connect(`127.0.0.1:${port}`, { ...ours, verifyPeer: "strict", ...more }));
}

const portOf = (endpoint: QuicEndpoint) => endpoint.address!.port;
const asksForCertificates = { ca: [Buffer.from(server.caPem)], verifyClient: true, rejectUnauthorized: true };

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

it("node:quic: a peer that fell silent looks as if it had ended on purpose", async () => {
  const at = await serve(() => {});
  const forwarder = await UdpForwarder.start(`udp://127.0.0.1:${portOf(at)}`);
  const session = await dial(Number(forwarder.address.split(":").at(-1)), { transportParams: { maxIdleTimeout: 1 } });
  await session.opened;
  forwarder[Symbol.dispose]();
  await expect(session.closed).resolves.toBeUndefined();
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

/** A port of ours, and the connections that came to it. */
async function ours(host = "127.0.0.1"): Promise<{ endpoint: Endpoint; accepted: Connection[] }> {
  const endpoint = new Endpoint({ host, port: 0 });
  const accepted: Connection[] = [];
  await endpoint.listen(new UdpIdentity(() => server).current()!.shown, (connection) => accepted.push(connection));
  return { endpoint, accepted };
}

it("X23 Endpoint: a ticket, if one is given at all, brings nobody's early data in", async () => {
  const { endpoint } = await ours();
  const tickets: Uint8Array[] = [];
  const more: SessionOptions = {
    alpn: "mesh/1",
    onsessionticket: (ticket) => tickets.push(ticket as Uint8Array),
  };
  const first = await dial(endpoint.address.port, more);
  await first.opened;
  (await first.createBidirectionalStream()).writer.writeSync(new Uint8Array([9]));
  await Promise.race([
    first.closed.catch(() => {}),
    until(() => tickets.length > 0, { what: "a ticket", timeoutMs: 1_000 }).catch(() => {}),
  ]);
  if (tickets.length > 0) {
    const again = await dial(endpoint.address.port, { ...more, sessionTicket: tickets[0]!, enableEarlyData: true });
    expect((await again.opened).earlyDataAccepted).toBe(false);
  }
  await endpoint.close();
});

it("Endpoint: an error in what hears of connections ends that connection and nothing else", async () => {
  const endpoint = new Endpoint({ host: "127.0.0.1", port: 0 });
  let calls = 0;
  await endpoint.listen(new UdpIdentity(() => server).current()!.shown, () => {
    if (++calls === 1) throw new Error("a bug");
  });
  const to = { host: "127.0.0.1", port: endpoint.address.port };
  const from = new Endpoint({ host: "127.0.0.1", port: 0 });
  const first = await from.connect(to, TRUSTS_ANYBODY);
  await first.closed;
  await (await from.connect(to, TRUSTS_ANYBODY)).opened;
  expect(calls).toBe(2);
  await from.close();
  await endpoint.close();
});

it("Endpoint: reaches IPv4 from a socket of both, and hears at once when the other side cuts", async () => {
  const { endpoint, accepted } = await ours("::");
  const from = new Endpoint({ host: "::", port: 0 });
  const connection = await from.connect({ host: "127.0.0.1", port: endpoint.address.port }, TRUSTS_ANYBODY);
  await connection.opened;
  accepted[0]!.cut("enough of it");
  expect(await connection.closed).toEqual({ isClean: false, reason: "enough of it", transportCode: undefined });
  await Promise.all([from.close(), endpoint.close()]);
});

it("F23 Endpoint: no warning that the runtime's API is experimental reaches anybody", async () => {
  const path = new URL("../../transports/udp/quic.ts", import.meta.url).pathname;
  const code = `import { Endpoint } from ${JSON.stringify(path)}; const e = new Endpoint({ host: "127.0.0.1", port: 0 }); await e.close(); console.log("done");`;
  const { NODE_NO_WARNINGS: _, ...env } = process.env;
  const child = Bun.spawn([process.execPath, "-e", code], { env, stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  expect([stdout, stderr]).toEqual(["done\n", ""]);
});
