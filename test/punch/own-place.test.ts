// What a node says of its own port, and what two of them may hope for.
import { describe, expect, it } from "vitest";
import { candidatesOf, outsideHost, ownHosts } from "../../core/punch/candidates.ts";
import { judgeMapping } from "../../core/punch/mapping.ts";
import { prospectsOf, type Side } from "../../core/punch/prospects.ts";
import { readRemote, remoteOf } from "../../core/punch/remote.ts";

const LO = { address: "127.0.0.1", family: "IPv4", internal: true };
const LO6 = { address: "::1", family: "IPv6", internal: true, scopeid: 0 };
const LAN = { address: "10.0.0.5", family: "IPv4", internal: false };
const GLOBAL6 = { address: "2001:db8::5", family: "IPv6", internal: false, scopeid: 0 };
const LINK6 = { address: "fe80::1", family: "IPv6", internal: false, scopeid: 4 };

describe("F22 ownHosts", () => {
  it("names IPv6 first, then local networks, and no loopback or link-local address", () => {
    expect(ownHosts({ lo: [LO, LO6], eth0: [LAN, LINK6, GLOBAL6] })).toEqual(["2001:db8::5", "10.0.0.5"]);
  });

  it("names loopback where there is nothing else", () => {
    expect(ownHosts({ lo: [LO, LO6], eth0: undefined })).toEqual(["::1", "127.0.0.1"]);
  });
});

describe("F22 candidatesOf", () => {
  it.each([
    ["a NAT", ["198.51.100.7:61000"], ["[2001:db8::5]:5", "10.0.0.5:5", "198.51.100.7:61000"]],
    ["no NAT", ["10.0.0.5:5"], ["[2001:db8::5]:5", "10.0.0.5:5"]],
    ["IPv6 and a NAT", ["[2001:db8::5]:5", "198.51.100.7:9"], ["[2001:db8::5]:5", "10.0.0.5:5", "198.51.100.7:9"]],
    [
      "a place here and one outside",
      ["10.0.0.5:5", "198.51.100.7:9"],
      ["[2001:db8::5]:5", "10.0.0.5:5", "198.51.100.7:9"],
    ],
    ["a place on this machine", ["127.0.0.1:5"], ["[2001:db8::5]:5", "10.0.0.5:5"]],
    ["a place that is link-local", ["[fe80::5]:5"], ["[2001:db8::5]:5", "10.0.0.5:5"]],
    ["no place", [], ["[2001:db8::5]:5", "10.0.0.5:5"]],
  ])("%s", (_name, seen, expected) => {
    expect(candidatesOf(5, ["2001:db8::5", "10.0.0.5"], seen)).toEqual(expected);
  });

  it("ends with the own address that is seen outside, of several", () => {
    expect(candidatesOf(5, ["203.0.113.5", "10.0.0.5"], ["203.0.113.5:5"])).toEqual(["10.0.0.5:5", "203.0.113.5:5"]);
  });

  it("names 32 at most, those outside among them", () => {
    const hosts = Array.from({ length: 40 }, (_, i) => `10.0.0.${i + 1}`);
    const found = candidatesOf(5, hosts, ["198.51.100.7:1", "198.51.100.7:2"]);
    expect(found).toHaveLength(32);
    expect(found.slice(-2)).toEqual(["198.51.100.7:1", "198.51.100.7:2"]);
    expect(outsideHost(found)).toBe("198.51.100.7");
  });
});

describe("F25 judgeMapping", () => {
  const own = ["10.0.0.5:5", "[2001:db8::5]:5"];
  const one = (seen: string) => ({ by: "192.0.2.1:1", seen });
  const two = (seen: string) => ({ by: "192.0.2.1:2", seen });
  const elsewhere = (seen: string) => ({ by: "192.0.2.9:1", seen });
  it.each([
    ["none", [one("10.0.0.5:5"), two("10.0.0.5:5")]],
    ["none", [one("10.0.0.5:5")]],
    ["independent", [one("198.51.100.7:9"), two("198.51.100.7:9")]],
    ["independent", [one("198.51.100.7:9"), elsewhere("198.51.100.7:9")]],
    ["dependent", [one("198.51.100.7:9"), two("198.51.100.7:10")]],
    ["dependent", [one("198.51.100.7:9"), elsewhere("198.51.100.7:10")]],
    ["dependent", [one("198.51.100.7:9"), two("198.51.100.8:9")]],
    ["unknown", [one("198.51.100.7:9")]],
    // Two places that are reached over two routers.
    ["independent", [one("198.51.100.7:9"), two("198.51.100.7:9"), elsewhere("203.0.113.1:4")]],
    // One within the own network says nothing of the router before it.
    ["independent", [one("198.51.100.7:9"), two("198.51.100.7:9"), elsewhere("10.0.0.5:5")]],
    ["dependent", [one("198.51.100.7:9"), two("198.51.100.7:8"), elsewhere("[2001:db8::5]:5")]],
    ["unknown", [one("127.0.0.1:5"), two("127.0.0.1:5")]],
    ["blocked", []],
  ] as const)("%s", (expected, answers) => {
    expect(judgeMapping(answers, own, 2)).toBe(expected);
  });

  it("does not know where nobody was asked", () => {
    expect(judgeMapping([], own, 0)).toBe("unknown");
  });
});

describe("F22 prospectsOf", () => {
  const side = (mapping: Side["mapping"], ...candidates: string[]): Side => ({ mapping, candidates });
  const home = (mapping: Side["mapping"], i: number) =>
    side(mapping, `192.168.${i}.2:5`, ...(mapping === "blocked" ? [] : [`198.51.100.${i}:9`]));

  it.each([
    ["independent", "independent", "plain"],
    ["none", "none", "plain"],
    ["unknown", "unknown", "plain"],
    ["dependent", "independent", "open-ports"],
    ["independent", "dependent", "guess-ports"],
    ["none", "dependent", "guess-ports"],
    ["dependent", "unknown", "open-ports"],
  ] as const)("%s and %s: %s", (own, other, method) => {
    expect(prospectsOf(home(own, 1), home(other, 2))).toEqual({ method });
  });

  it.each([
    ["dependent", "dependent", /symmetric NAT/],
    ["blocked", "none", /this machine/],
    ["independent", "blocked", /the other machine/],
  ] as const)("%s and %s: none", (own, other, why) => {
    expect(prospectsOf(home(own, 1), home(other, 2))).toEqual({ why: expect.stringMatching(why) });
  });

  it.each([
    ["one router", home("dependent", 1), home("dependent", 1)],
    ["one network", side("blocked", "10.0.0.5:1"), side("blocked", "10.0.0.6:1")],
    ["one network of several", side("blocked", "10.9.0.5:1", "10.0.0.5:1"), side("none", "10.0.0.6:1")],
    ["IPv6", side("blocked", "[2001:db8::5]:1"), side("dependent", "[2a00::1]:1", "198.51.100.2:9")],
  ])("tries what is nearby: %s", (_name, own, other) => {
    expect(prospectsOf(own, other)).toEqual({ method: "nearby" });
  });

  it("does not take an address that both have for one network", () => {
    const bridge = "172.17.0.1:5";
    const [a, b] = [side("blocked", bridge, "10.0.1.5:5"), side("blocked", bridge, "10.0.2.5:5")];
    expect(prospectsOf(a, b)).toHaveProperty("why");
  });

  it("does not take two outside addresses of one provider for one network", () => {
    const [a, b] = [side("dependent", "198.51.100.7:9"), side("dependent", "198.51.100.8:9")];
    expect(prospectsOf(a, b)).toHaveProperty("why");
  });
});

describe("F22 remotes", () => {
  it.each([
    ["10.0.0.5:40001", "10.0.0.5:40001"],
    ["[2001:DB8:0:0::5]:1", "[2001:db8::5]:1"],
    ["[::ffff:10.0.0.5]:1", "10.0.0.5:1"],
  ])("%s is %s", (text, plain) => {
    expect(readRemote(text)).toBe(plain);
  });

  it.each([
    "",
    "10.0.0.5",
    "10.0.0.5:0",
    "10.0.0.5:65536",
    "10.0.0:5",
    "host:5",
    "[10.0.0.5]:x",
    "[fe80::1%eth0]:5",
    "[::]:5",
    "0.0.0.0:5",
    "239.1.1.1:5",
    "[ff02::1]:5",
  ])("%s is none", (text) => {
    expect(readRemote(text)).toBeUndefined();
  });

  it("writes the source of a packet as an address of its own family", () => {
    expect(remoteOf("::ffff:10.0.0.5", 5)).toBe("10.0.0.5:5");
    expect(remoteOf("2001:DB8::5", 5)).toBe("[2001:db8::5]:5");
    expect(remoteOf("fe80::1%eth0", 5)).toBe("[fe80::1]:5");
  });
});
