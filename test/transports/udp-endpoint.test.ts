// A UDP port of ours over node:quic: that what the runtime does (udp-runtime.test.ts) does no harm.
import type { SessionOptions } from "node:quic";
import { afterEach, expect, it } from "vitest";
import { TRUSTS_ANYBODY, UdpIdentity } from "../../transports/udp/identity.ts";
import { type Connection, Endpoint } from "../../transports/udp/quic.ts";
import { until } from "../support/until.ts";
import { destroyAll, dial, server } from "./bare-quic.ts";

afterEach(destroyAll);

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
