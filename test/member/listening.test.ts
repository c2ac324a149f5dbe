import { describe, expect, it } from "vitest";
import { MeshError } from "../../core/errors.ts";
import { advertisedAddresses } from "../../core/member/addresses.ts";
import { defaultListening, type Listened, type Listening, listenAll } from "../../core/member/listening.ts";
import type { Transport } from "../../core/transport.ts";

/** Listens on all but the addresses given. */
function transportWithout(refused: string[]): Transport {
  return {
    name: "test",
    listen: async (address) => {
      if (refused.includes(address)) throw new MeshError("UNREACHABLE", `cannot listen on ${address}: refused`);
      return { address: address.replace(/:0$/, ":40000"), close: async () => {} };
    },
    dial: () => Promise.reject(new Error("not dialed here")),
  };
}

async function listenedOn(
  listening: Listening,
  refused: string[],
): Promise<{ addresses: string[]; warned: unknown[] }> {
  const made: Listened[] = [];
  const warned: unknown[] = [];
  const warn = (_event: string, fields?: { address?: unknown }) => void warned.push(fields?.address);
  const log = { info: () => {}, warn, error: () => {} };
  const options = { transport: transportWithout(refused), accept: () => {}, log };
  await listenAll(listening, { ...options, made: (listened) => void made.push(listened) });
  return { addresses: made.map(({ listener }) => listener.address), warned };
}

describe("defaultListening", () => {
  it("F17 F23 is any free port of every transport that may be used; the first is a must", () => {
    expect(defaultListening(["tcp", "udp"])).toEqual({ listen: ["tcp://[::]:0"], listenToo: ["udp://[::]:0"] });
    expect(defaultListening(["udp"], 7450)).toEqual({ listen: ["udp://[::]:7450"], listenToo: [] });
  });
});

describe("listenAll", () => {
  const listening = defaultListening(["tcp", "udp"], 7450);

  it("listens on all", async () => {
    expect(await listenedOn(listening, [])).toEqual({
      addresses: ["tcp://[::]:7450", "udp://[::]:7450"],
      warned: [],
    });
  });

  it("F17 a port that UDP's is taken of is replaced by another one, and the log tells", async () => {
    expect(await listenedOn(listening, ["udp://[::]:7450"])).toEqual({
      addresses: ["tcp://[::]:7450", "udp://[::]:40000"],
      warned: ["udp://[::]:7450"],
    });
  });

  it("goes without UDP where there is none, and the log tells", async () => {
    const { addresses, warned } = await listenedOn(listening, ["udp://[::]:7450", "udp://[::]:0"]);
    expect([addresses, warned]).toEqual([["tcp://[::]:7450"], ["udp://[::]:7450", "udp://[::]:0"]]);
    expect((await listenedOn(defaultListening(["tcp", "udp"]), ["udp://[::]:0"])).warned).toEqual(["udp://[::]:0"]);
  });

  it("fails when what somebody asked for cannot be had", async () => {
    const asked = { listen: ["tcp://[::]:7450", "udp://[::]:7450"] };
    await expect(listenedOn(asked, ["udp://[::]:7450"])).rejects.toThrow("cannot listen on udp://[::]:7450");
    await expect(listenedOn(listening, ["tcp://[::]:7450"])).rejects.toThrow("cannot listen on tcp://[::]:7450");
  });
});

describe("advertisedAddresses", () => {
  const address = (ip: string, family = "IPv4") => ({ address: ip, family, internal: false });
  const two = { lo: [address("127.0.0.1")], eth0: [address("10.0.0.5"), address("2001:db8::5", "IPv6")] };

  it("names each interface by all that is listened on, loopback last", () => {
    expect(advertisedAddresses(["tcp://[::]:1", "udp://0.0.0.0:2"], [], two)).toEqual([
      "tcp://10.0.0.5:1",
      "udp://10.0.0.5:2",
      "tcp://[2001:db8::5]:1",
      "tcp://127.0.0.1:1",
      "udp://127.0.0.1:2",
    ]);
    expect(advertisedAddresses(["tcp://[::]:1"], ["udp://vps:3"], two)).toEqual(["udp://vps:3"]);
  });

  it("on a machine with many interfaces are no more than the coordinator takes, of TCP and UDP as many", () => {
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`veth${i}`, [address(`10.0.${i}.1`)]]));
    const told = advertisedAddresses(["tcp://[::]:1", "udp://[::]:2"], [], many);
    expect(told.filter((each) => each.startsWith("tcp"))).toHaveLength(16);
    expect(told.filter((each) => each.startsWith("udp"))).toHaveLength(16);
  });
});
