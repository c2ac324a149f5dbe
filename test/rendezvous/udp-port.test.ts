import { describe, expect, test } from "vitest";
import { sendDatagram, sendDatagrams, UdpPorts } from "../../core/rendezvous/udp-port.ts";
import { freeRange, TestPort } from "./support.ts";

const HOST = "127.0.0.1";
const bytes = (text: string) => new TextEncoder().encode(text);

/** A port that nothing listens on: what is sent there comes back as an error of the next datagram. */
async function deadPort(): Promise<number> {
  using port = await TestPort.open();
  return port.port;
}

describe("sendDatagram", () => {
  test("what ICMP says of one datagram does not lose the next, nor a batch", async () => {
    const dead = await deadPort();
    using target = await TestPort.open();
    const port = await new UdpPorts(HOST, undefined).open(() => {});
    sendDatagram(port, bytes("lost"), dead, HOST);
    expect(sendDatagram(port, bytes("1"), target.port, HOST)).toBe(true);
    sendDatagram(port, bytes("lost"), dead, HOST);
    expect(sendDatagrams(port, [bytes("2"), target.port, HOST, bytes("3"), target.port, HOST])).toBe(2);
    expect(await target.received(3)).toEqual(["1", "2", "3"]);
    port.close();
  });

  test("a closed port and a place without a route take nothing, and throw nothing", async () => {
    const port = await new UdpPorts(HOST, undefined).open(() => {});
    expect(sendDatagram(port, bytes("x"), 9, "2001:db8::1")).toBe(false);
    port.close();
    expect(sendDatagram(port, bytes("x"), 9, HOST)).toBe(false);
    expect(sendDatagrams(port, [bytes("x"), 9, HOST])).toBe(0);
  });
});

describe("UdpPorts", () => {
  test("without an address it takes all of this machine, IPv4 among them", async () => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const port = await new UdpPorts(undefined, undefined).open((_, __, host) => resolve(host));
    using from = await TestPort.open();
    from.send("x", port.port);
    expect(await promise).toMatch(/^(::ffff:)?127\.0\.0\.1$/);
    port.close();
  });

  test("of a range each is given once, and a closed one last again", async () => {
    const first = await freeRange(3);
    const ports = new UdpPorts(HOST, [first, first + 2]);
    const open = () => ports.open(() => {});
    const opened = [await open(), await open()];
    expect(opened.map(({ port }) => port)).toEqual([first, first + 1]);
    opened[0]!.close();
    opened.push(await open(), await open());
    expect(opened.map(({ port }) => port)).toEqual([first, first + 1, first + 2, first]);
    await expect(open()).rejects.toMatchObject({ code: "FULL" });
    for (const port of opened) port.close();
  });
});
