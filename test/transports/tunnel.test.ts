// F93: links through a tunnel, with a Unix socket of this machine in sshd's place.
import { expect, it } from "vitest";
import type { Transport } from "../../core/transport.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TunnelTransport } from "../../transports/tcp/tunnel-transport.ts";
import { transportConformance } from "../conformance/transport.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End, freePort, leafOf, Server } from "./tcp-support.ts";
import { FakeTunnel } from "./tunnel-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");

const through = (tunnel: FakeTunnel) => new TunnelTransport({ credentials: () => client, path: tunnel.path });
const asSsh = (address: string) => address.replace("tcp:", "ssh:");

transportConformance("TunnelTransport", {
  make: async () => {
    const tunnel = await new FakeTunnel().listen();
    const tcp = new TcpTransport({ credentials: () => server });
    const ssh = through(tunnel);
    const transport: Transport = {
      name: "ssh",
      listen: (address, accept) => tcp.listen(address, accept),
      dial: (address, options) => ssh.dial(asSsh(address), options),
    };
    const cleanUp = () => tunnel[Symbol.asyncDispose]();
    return { transport, address: "tcp://127.0.0.1:0", nowhere: `tcp://127.0.0.1:${freePort()}`, cleanUp };
  },
});

it("F93 TunnelTransport: TLS is between the two nodes, each sees the other's certificate", async () => {
  await using tunnel = await new FakeTunnel().listen();
  await using far = await Server.start(() => server);
  const link = await through(tunnel).dial(asSsh(far.address));
  expect(link.tls?.peerCertificate).toEqual(leafOf(server));
  await until(() => far.accepted.length === 1, { what: "a link" });
  expect(far.accepted[0]!.link.tls?.peerCertificate).toEqual(leafOf(client));
  link.destroy(new Error("the test is over"));
  await far.accepted[0]!.ended();
  await until(() => tunnel.streams.size === 0, { what: "the stream to end" });
});

it("F93 TunnelTransport: who is no node of this mesh is refused", async () => {
  await using tunnel = await new FakeTunnel().listen();
  const other = await (await TestCa.make()).issue("server");
  await using far = await Server.start(() => other);
  await expect(through(tunnel).dial(asSsh(far.address))).rejects.toMatchObject({ code: "AUTHENTICATION" });
});

it("F93 TunnelTransport: a refusal at the far end keeps the system's code", async () => {
  await using tunnel = await new FakeTunnel().listen();
  const dialed = through(tunnel).dial(`ssh://127.0.0.1:${freePort()}`);
  await expect(dialed).rejects.toMatchObject({ code: "UNREACHABLE", cause: { code: "ECONNREFUSED" } });
});

it("F93 TunnelTransport: waits for a tether that is on its way", async () => {
  await using tunnel = new FakeTunnel();
  await using far = await Server.start(() => server);
  const dialed = through(tunnel).dial(asSsh(far.address));
  await tunnel.listen();
  const near = new End(await dialed);
  near.send("there");
  await until(() => far.accepted[0]?.texts.length === 1, { what: "a frame" });
  near.link.close();
  await near.ended();
});

it("F93 TunnelTransport: without a tether the limit holds, and cancelling is at once", async () => {
  await using tunnel = new FakeTunnel();
  const error = await through(tunnel)
    .dial("ssh://10.0.0.1:7450", { timeoutMs: 50 })
    .catch((caught) => caught);
  expect(error).toMatchObject({ code: "TIMEOUT" });
  expect(error.message).toContain("mesh up");
  const dialed = through(tunnel).dial("ssh://10.0.0.1:7450", { signal: AbortSignal.timeout(50) });
  await expect(dialed).rejects.toMatchObject({ code: "CANCELLED" });
});

it("F93 TunnelTransport: what answers and is no tether is PROTOCOL", async () => {
  await using tunnel = new FakeTunnel();
  const listener = Bun.listen({
    unix: tunnel.path,
    socket: { open: (socket) => void socket.write("SSH-2.0\n"), data() {} },
  });
  await expect(through(tunnel).dial("ssh://10.0.0.1:7450")).rejects.toMatchObject({ code: "PROTOCOL" });
  listener.stop(true);
});

it("F93 TunnelTransport: a broken tunnel breaks the link", async () => {
  await using tunnel = await new FakeTunnel().listen();
  await using far = await Server.start(() => server);
  const near = new End(await through(tunnel).dial(asSsh(far.address)));
  await until(() => far.accepted.length === 1, { what: "a link" });
  await tunnel.close();
  await Promise.all([near.ended(), far.accepted[0]!.ended()]);
});
