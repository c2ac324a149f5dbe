// Ways over UDP that a node makes for itself: through a hole, and to the port of a relay.
import { expect, it } from "vitest";
import { meshTransport } from "../../cmd/transport.ts";
import type { Listener, Transport } from "../../core/transport.ts";
import { UdpTransport } from "../../transports/udp/udp-transport.ts";
import { UdpForwarder } from "../session/udp-forwarder.ts";
import { TestCa } from "../support/certificates.ts";
import { until } from "../support/until.ts";
import { End } from "./tcp-support.ts";
import { freeUdpPort, UdpServer } from "./udp-support.ts";

const ca = await TestCa.make();
const server = await ca.issue("server");
const client = await ca.issue("client");
const nodeWith = () => new UdpTransport({ credentials: () => client });
const portOf = (address: string) => Number(/:(\d+)(?:\?|$)/.exec(address)![1]);
const words = (text: RegExp) => expect.stringMatching(text);

/** A dial that ends at `at`; the port it came from, as that one sees it. */
async function dialed(transport: Transport, address: string, at: UdpServer): Promise<{ near: End; from: number }> {
  const before = at.accepted.length;
  const near = new End(await transport.dial(address));
  await until(() => at.accepted.length > before, { what: "the link" });
  return { near, from: portOf(at.accepted.at(-1)!.link.label) };
}

it.each(["punch", "udp"])(
  "F22 a dial through a hole goes from the port that is listened on for it, as %s",
  async (scheme) => {
    await using at = await UdpServer.start(() => server, {}, "udp://[::]:0");
    const transport = nodeWith();
    const main = await transport.listen("udp://[::]:0", () => {});
    const hole = await transport.listen(`${scheme}://[::]:${await freeUdpPort()}`, () => {});
    const { near, from } = await dialed(transport, `punch://127.0.0.1:${at.port}?from=${portOf(hole.address)}`, at);
    expect(from).toBe(portOf(hole.address));
    near.link.close();
    await near.ended();
    await Promise.all([hole.close(), main.close()]);
    await until(() => transport.ports === 0, { what: "the ports to be free" });
  },
);

it("F22 ordinary dials and those to relays go from the main port, never from a hole's, also without a main one", async () => {
  await using at = await UdpServer.start(() => server);
  const transport = nodeWith();
  const holes = [
    await transport.listen("punch://[::]:0", () => {}),
    await transport.listen("punch://[::]:0", () => {}),
  ];
  const others = holes.map(({ address }) => portOf(address));
  const without = await dialed(transport, `udp://127.0.0.1:${at.port}`, at);
  expect(others).not.toContain(without.from);
  const main = await transport.listen("udp://[::]:0", () => {});
  const ordinary = await dialed(transport, `udp://127.0.0.1:${at.port}`, at);
  const relayed = await dialed(transport, `relay://127.0.0.1:${at.port}`, at);
  expect([ordinary.from, relayed.from]).toEqual([portOf(main.address), portOf(main.address)]);
  for (const { near } of [without, ordinary, relayed]) near.link.destroy(new Error("over"));
  await Promise.all([...holes, main].map((each) => each.close()));
});

it("F22 when a hole is listened on no longer its link lives on, both ways, and its port is free after that", async () => {
  await using far = await UdpServer.start(() => server, {}, "punch://[::]:0");
  const transport = nodeWith();
  const hole = await transport.listen("punch://[::]:0", () => {});
  const port = portOf(hole.address);
  const near = new End(await transport.dial(`punch://127.0.0.1:${far.port}?from=${port}`));
  await until(() => far.accepted.length === 1, { what: "the link" });
  await Promise.all([hole.close(), far.listener.close()]);
  near.send("there");
  far.accepted[0]!.send("back");
  await until(() => far.accepted[0]!.texts.length + near.texts.length === 2, { what: "a frame each way" });
  near.link.close();
  await Promise.all([near.ended(), far.accepted[0]!.ended()]);
  let again: Listener | undefined;
  await until(
    async () => {
      again = await transport.listen(`punch://[::]:${port}`, () => {}).catch(() => undefined);
      return again !== undefined;
    },
    { what: "the port" },
  );
  await again!.close();
});

it("says what is wrong with a way: nothing listens on its port, no port, what cannot be listened on", async () => {
  const transport = meshTransport({ credentials: () => client });
  const port = await freeUdpPort();
  await expect(transport.dial(`punch://127.0.0.1:9?from=${port}`)).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: words(new RegExp(`UDP port ${port} cannot be dialed from: nothing here listens on it`)),
  });
  const v4 = await transport.listen("punch://0.0.0.0:0", () => {});
  await expect(transport.dial(`punch://[::1]:9?from=${portOf(v4.address)}`)).rejects.toMatchObject({
    code: "UNREACHABLE",
    message: words(/does not reach that address/),
  });
  await v4.close();
  for (const address of ["punch://127.0.0.1:9", "punch://127.0.0.1:9?from=0", "punch://127.0.0.1:9?from=70000"]) {
    await expect(transport.dial(address)).rejects.toMatchObject({ message: words(/no way through a hole/) });
  }
  for (const address of ["relay://127.0.0.1:9", "tcprelay://127.0.0.1:9", "constructor://127.0.0.1:9"]) {
    await expect(transport.listen(address, () => {})).rejects.toMatchObject({ code: "UNREACHABLE" });
  }
});

it("X6 where the system takes no packets to, no way leads: at once, and nothing is sent there", async () => {
  const transport = nodeWith();
  const hole = await transport.listen("punch://0.0.0.0:0", () => {});
  const ways = ["udp://%", "relay://%", `punch://%?from=${portOf(hole.address)}`];
  for (const way of ways) {
    const dial = transport.dial(way.replace("%", "255.255.255.255:9"));
    await expect(dial).rejects.toMatchObject({ code: "UNREACHABLE", cause: { code: "EACCES" } });
  }
  expect(transport.ports).toBe(1);
  await hole.close();
});

it("F35 a dial to a relay's port sends nothing but QUIC there, waits for a relay that is late, and carries a link", async () => {
  await using at = await UdpServer.start(() => server, {}, "udp://[::]:0");
  const seen: number[] = [];
  const forwarder = await UdpForwarder.start(at.address);
  forwarder.tap = (bytes) => seen.push(bytes.length);
  const { near } = await dialed(nodeWith(), forwarder.address.replace("udp:", "relay:"), at);
  near.send("through it");
  await until(() => at.accepted[0]!.texts.length === 1, { what: "a frame" });
  expect(Math.min(...seen)).toBeGreaterThan(1); // a probe is one byte
  expect(seen[0]).toBeGreaterThanOrEqual(1_200);
  expect(near.link.label).toMatch(/^relay:/);
  near.link.close();
  await near.ended();
  forwarder[Symbol.dispose]();
});

it("F25 one node's transport serves udp and punch from the same ports", async () => {
  await using at = await UdpServer.start(() => server, {}, "udp://[::]:0");
  const transport = meshTransport({ credentials: () => client });
  const main = await transport.listen("udp://[::]:0", () => {});
  const port = portOf(main.address);
  for (const address of [`udp://127.0.0.1:${at.port}`, `punch://[::ffff:127.0.0.1]:${at.port}?from=${port}`]) {
    const { near, from } = await dialed(transport, address, at);
    expect([address, from]).toEqual([address, port]);
    near.link.close();
    await near.ended();
  }
  await main.close();
});
