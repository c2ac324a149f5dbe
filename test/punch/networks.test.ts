// Networks that are more than two routers, and people in them who mean no good.
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { hostOf } from "../../core/ip-address.ts";
import { Sealer } from "../../core/punch/packet.ts";
import { type NatNetwork, Router, SimHost, type SimPacket } from "./nat-network.ts";
import { behind, KINDS, NatPair } from "./nat-pair.ts";

const PORT_RESTRICTED = KINDS["port-restricted"];
const SEEDS = Array.from({ length: 50 }, (_, i) => i + 1);

/** Both in one private network. */
function neighbours(kind: ConstructorParameters<typeof Router>[2]) {
  return (network: NatNetwork): [SimHost, SimHost] => {
    const router = new Router(network, "198.51.100.1", kind);
    return [new SimHost(network, "10.0.1.2", router), new SimHost(network, "10.0.1.3", router)];
  };
}

describe("X10 nodes behind one router", () => {
  it.each(["port-restricted", "symmetric", "blocked"] as const)("%s: they talk within their own network", (kind) => {
    for (const seed of SEEDS) {
      const pair = new NatPair(seed, neighbours(KINDS[kind])).run();
      expect(pair.nodes.map(({ hole }) => hostOf(hole!.remote))).toEqual(["10.0.1.3", "10.0.1.2"]);
      expect(pair.isThrough).toBe(true);
      expect(pair.tookMs).toBeLessThan(100);
    }
  });

  it("prefers their own network to the way by the router's outside address", () => {
    for (const seed of SEEDS) {
      const hairpin = neighbours({ ...KINDS["full cone"], hairpins: true });
      const pair = new NatPair(seed, hairpin, { loss: 0.1 }).run({ skewMs: seed });
      expect(pair.nodes.map(({ hole }) => hostOf(hole!.remote))).toEqual(["10.0.1.3", "10.0.1.2"]);
    }
  });
});

describe("F22 nodes behind two routers each", () => {
  it("finds a way out of one provider's network and into another's", () => {
    for (const seed of SEEDS) {
      const pair = new NatPair(seed, (network) => {
        const [one, other] = [1, 2].map((i) => new Router(network, `198.51.100.${i}`, PORT_RESTRICTED));
        return [behind(network, PORT_RESTRICTED, 3, one), behind(network, PORT_RESTRICTED, 4, other)];
      }).run();
      expect(pair.isThrough).toBe(true);
    }
  });

  it("finds a way within the provider's network when its router leads packets back", () => {
    const provider = { ...PORT_RESTRICTED, hairpins: true };
    for (const seed of SEEDS) {
      const pair = new NatPair(seed, (network) => {
        const shared = new Router(network, "198.51.100.1", provider);
        return [behind(network, PORT_RESTRICTED, 3, shared), behind(network, PORT_RESTRICTED, 4, shared)];
      }).run();
      expect(pair.isThrough).toBe(true);
    }
  });
});

describe("F22 routers that forget", () => {
  it("is in time after the longest wait for the other when they forget after 30 s", () => {
    const pair = NatPair.of(1, PORT_RESTRICTED, PORT_RESTRICTED).run({ waitMs: 12_000 });
    expect(pair.isThrough).toBe(true);
  });

  it("says what was tried when they have forgotten", () => {
    const hasty = { ...PORT_RESTRICTED, forgetsAfterMs: 5_000 };
    const pair = NatPair.of(1, hasty, hasty).run({ waitMs: 12_000 });
    expect(pair.nodes.map(({ failure }) => failure)).toEqual([
      expect.stringMatching(/packets to 10\.0\.2\.2:\d+, 198\.51\.100\.2:\d+; nothing came from it/),
      expect.stringMatching(/packets to 10\.0\.1\.2:\d+, 198\.51\.100\.1:\d+; nothing came from it/),
    ]);
    expect(pair.tookMs).toBeLessThan(3_200);
  });
});

/** Sends to both what `make` makes of every packet that passes, from where it likes. */
function disturb(pair: NatPair, make: (packet: SimPacket) => SimPacket[]): void {
  const { network } = pair;
  network.watch = (packet) => {
    const { watch } = network;
    network.watch = undefined;
    for (const more of make(packet)) network.carry(more);
    network.watch = watch;
  };
}

const attacks: Record<string, (packet: SimPacket) => SimPacket[]> = {
  "garbage from everywhere": ({ to }) => [
    { from: "192.0.2.66:6666", to, bytes: randomBytes(34) },
    { from: "192.0.2.67:6666", to, bytes: randomBytes(3) },
  ],
  "the own packets, reflected": ({ from, to, bytes }) => [{ from: to, to: from, bytes }],
  "packets of this meeting, sent on from elsewhere": ({ to, bytes }) => [
    { from: "192.0.2.66:6666", to, bytes },
    { from: "192.0.2.67:6666", to, bytes },
  ],
  "packets of this meeting, altered": ({ from, to, bytes }) =>
    Array.from({ length: 4 }, (_, i) => {
      const altered = Uint8Array.from(bytes);
      altered[(i * 9 + 4) % altered.length]! ^= 1;
      return { from, to, bytes: altered };
    }),
  "packets of another meeting": ({ from, to }) => {
    const other = new Sealer({ meeting: randomBytes(8), key: randomBytes(32), dials: true });
    return (["probe", "answer", "use", "used"] as const).map((type) => {
      return { from, to, bytes: other.seal({ type, number: 1 }) };
    });
  },
};

describe("X17 punching among attackers", () => {
  it.each(Object.keys(attacks))("%s: the way that is found is the other's own", (name) => {
    for (const seed of SEEDS) {
      // Open for everybody, so that all of it gets in.
      const pair = NatPair.of(seed, KINDS["full cone"], KINDS["full cone"]);
      disturb(pair, attacks[name]!);
      pair.run({ skewMs: seed });
      expect(pair.nodes.map(({ hole }) => hostOf(hole!.remote))).toEqual(["198.51.100.2", "198.51.100.1"]);
      expect(pair.isThrough).toBe(true);
      expect(pair.tookMs).toBeLessThan(300);
    }
  });
});
