import { expect, it } from "vitest";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End, freePort, rawClient, Server } from "./tcp-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const hasIpv6 = canListen("::1");

function canListen(hostname: string): boolean {
  try {
    Bun.listen({ hostname, port: 0, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}

const dialer = (hosts?: string[]) =>
  new TcpTransport({ credentials: () => client, ...(hosts && { resolve: async () => hosts }) });

/** Accepts TCP and says nothing. */
function silent(hostname: string, port: number): { [Symbol.dispose](): void; connections: number; closed: number } {
  const state = { connections: 0, closed: 0, [Symbol.dispose]: () => listener.stop(true) };
  const listener = Bun.listen({
    hostname,
    port,
    socket: {
      open: () => {
        state.connections++;
      },
      close: () => {
        state.closed++;
      },
      data() {},
    },
  });
  return state;
}

it("TcpTransport: a refused connection keeps the system's code and says what to do", async () => {
  const address = `tcp://127.0.0.1:${freePort()}`;
  const error = await dialer()
    .dial(address)
    .catch((caught) => caught);
  expect(error).toMatchObject({ code: "UNREACHABLE", cause: { code: "ECONNREFUSED" } });
  expect(error.message).toBe(
    `cannot reach ${address}: refused: nothing listens there; is mesh running there (mesh coordinator, mesh worker), and is the port right?`,
  );
});

it("TcpTransport: a name nobody knows is told as such", async () => {
  const dial = dialer().dial("tcp://no-such-host.invalid:7450");
  await expect(dial).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: expect.stringMatching(/no-such-host\.invalid.*write the IP address/),
  });
});

it("TcpTransport: a text that is no address is told as such", async () => {
  await expect(dialer().dial("gpu1:7450")).rejects.toThrow(/is no TCP address: write tcp:\/\/HOST:PORT/);
  await expect(dialer().listen("gpu1:7450", () => {})).rejects.toThrow(/is no TCP address/);
});

it("TcpTransport: what speaks no TLS is UNREACHABLE, and the port is doubted", async () => {
  using listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { open: (socket) => void socket.write("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), data() {} },
  });
  await expect(dialer().dial(`tcp://127.0.0.1:${listener.port}`)).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: expect.stringMatching(/does not speak TLS 1\.3; check the port/),
  });
});

it("TcpTransport: what hangs up in the middle of TLS is UNREACHABLE", async () => {
  using listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { open: (s) => void s.end(), data() {} } });
  await expect(dialer().dial(`tcp://127.0.0.1:${listener.port}`)).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: expect.stringMatching(/before TLS had ended.*try again/),
  });
});

it("TcpTransport: a dial ends after its time and leaves no connection behind", async () => {
  const port = freePort();
  using listener = silent("127.0.0.1", port);
  await expect(dialer().dial(`tcp://127.0.0.1:${port}`, { timeoutMs: 50 })).rejects.toMatchObject({
    code: "TIMEOUT",
    message: expect.stringMatching(/did not answer within 50 ms: no answer; check the address/),
  });
  await until(() => listener.closed === 1, { what: "the connection's end" });
});

it("TcpTransport: a dial can be cancelled under way and leaves no connection behind", async () => {
  const port = freePort();
  using listener = silent("127.0.0.1", port);
  const control = new AbortController();
  const dial = dialer().dial(`tcp://127.0.0.1:${port}`, { signal: control.signal });
  const outcome = expect(dial).rejects.toMatchObject({ code: "CANCELLED" });
  await until(() => listener.connections === 1, { what: "the connection" });
  control.abort();
  await outcome;
  await until(() => listener.closed === 1, { what: "the connection's end" });
});

it("TcpTransport: all addresses of a name are tried, and the errors of all are told", async () => {
  const port = freePort();
  const dial = dialer(["127.0.0.2", "127.0.0.3"]).dial(`tcp://gpu1:${port}`);
  await expect(dial).rejects.toMatchObject({
    code: "UNREACHABLE",
    cause: { code: "ECONNREFUSED" },
    message: expect.stringMatching(
      /tcp:\/\/gpu1:\d+: tcp:\/\/127\.0\.0\.2:\d+: refused.*tcp:\/\/127\.0\.0\.3:\d+: refused/,
    ),
  });
});

it("TcpTransport: an address that says nothing holds up nobody, and is hung up on", async () => {
  await using at = await Server.start(() => server, {}, "tcp://127.0.0.3:0");
  using listener = silent("127.0.0.2", at.port);
  const near = new End(await dialer(["127.0.0.2", "127.0.0.3"]).dial(`tcp://gpu1:${at.port}`));
  await until(() => at.accepted.length === 1 && listener.closed === 1, { what: "one link and one hang-up" });
  near.link.close();
});

it("TcpTransport: an address of another mesh does not end the search", async () => {
  const other = await (await TestCa.make()).issue("other");
  await using good = await Server.start(() => server, {}, "tcp://127.0.0.3:0");
  await using bad = await Server.start(() => other, {}, `tcp://127.0.0.2:${good.port}`);
  const near = new End(await dialer(["127.0.0.2", "127.0.0.3"]).dial(`tcp://gpu1:${good.port}`));
  await until(() => good.accepted.length === 1, { what: "the link" });
  near.link.close();
  const failing = dialer(["127.0.0.4", "127.0.0.2"]).dial(`tcp://gpu1:${bad.port}`);
  await expect(failing).rejects.toMatchObject({
    code: "AUTHENTICATION",
    message: expect.stringMatching(/127\.0\.0\.4:\d+: refused.*127\.0\.0\.2:\d+: its certificate was not signed/),
  });
});

it("TcpTransport: a taken port, and an address of another machine, cannot be listened on", async () => {
  await using at = await Server.start(() => server);
  await expect(dialer().listen(at.address, () => {})).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: expect.stringMatching(/cannot listen on tcp:\/\/127\.0\.0\.1:\d+: the port is taken/),
  });
  // 192.0.2.0/24 belongs to documentation (RFC 5737): no machine has such an address.
  await expect(dialer().listen("tcp://192.0.2.1:0", () => {})).rejects.toThrow(/has no such address/);
});

it.skipIf(!hasIpv6)("TcpTransport: [::] takes IPv4 and IPv6, 0.0.0.0 only IPv4 (skipped without IPv6)", async () => {
  await using both = await Server.start(() => server, {}, "tcp://[::]:0");
  expect(both.address).toMatch(/^tcp:\/\/\[::\]:\d+$/);
  for (const host of ["127.0.0.1", "[::1]", "localhost"]) {
    (await dialer().dial(`tcp://${host}:${both.port}`)).close();
  }
  await until(() => both.accepted.length === 3, { what: "three links" });
  const labels = both.accepted.map(({ link }) => link.label.replace(/\d+$/, "PORT"));
  expect(labels.slice(0, 2)).toEqual(["tcp://127.0.0.1:PORT", "tcp://[::1]:PORT"]);

  await using four = await Server.start(() => server, {}, "tcp://0.0.0.0:0");
  (await dialer().dial(`tcp://127.0.0.1:${four.port}`)).close();
  const refused = { code: "UNREACHABLE", cause: { code: "ECONNREFUSED" } };
  await expect(dialer().dial(`tcp://[::1]:${four.port}`)).rejects.toMatchObject(refused);
});

it("TcpTransport: a closed listener hangs up on unfinished handshakes and gives no more links", async () => {
  await using at = await Server.start(() => server);
  const half = await rawClient(at.port);
  await until(() => at.listener.unfinished === 1, { what: "the connection" });
  await at.listener.close();
  await until(() => half.isClosed, { what: "the hang-up" });
  expect([at.listener.unfinished, at.accepted.length]).toEqual([0, 0]);
});
