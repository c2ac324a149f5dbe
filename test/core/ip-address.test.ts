import { expect, it } from "vitest";
import { countedHost, hostAndPort, hostOf, isLoopback, plainIp, portOf, unmapped } from "../../core/ip-address.ts";

it("unmapped: IPv4 as IPv4, and IPv6 as it is", () => {
  expect(["::ffff:10.0.0.5", "::ffff:a00:5", "::1"].map(unmapped)).toEqual(["10.0.0.5", "::ffff:a00:5", "::1"]);
});

it("plainIp: without a zone", () => {
  expect(["fe80::1%eth0", "::ffff:10.0.0.5", ""].map(plainIp)).toEqual(["fe80::1", "10.0.0.5", ""]);
});

it.each([
  ["10.0.0.5:80", "10.0.0.5", 80],
  ["[2001:db8::5]:80", "2001:db8::5", 80],
])("hostAndPort, hostOf, portOf: %s", (text, host, port) => {
  expect(hostAndPort(host, port)).toBe(text);
  for (const address of [text, `tcp://${text}`, `punch://${text}?from=7`]) {
    expect([hostOf(address), portOf(address)]).toEqual([host, port]);
  }
});

it.each(["", "gpu1", "tcp://gpu1", "memory://3", "::1:80"])("hostOf, portOf: %j has neither", (text) => {
  expect([hostOf(text), portOf(text)]).toEqual(["", Number.NaN]);
});

it("isLoopback: by name and by number", () => {
  expect(["localhost", "127.0.0.1", "::1", "10.0.0.1", "::"].map(isLoopback)).toEqual([true, true, true, false, false]);
});

it.each([
  ["10.0.0.5", "10.0.0.5"],
  ["::ffff:10.0.0.5", "10.0.0.5"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::", "2001:db8:1:2"],
  ["2001:db8::1", "2001:db8:0:0"],
  ["::1", "0:0:0:0"],
  ["1::2:3:4:5:6:7", "1:0:2:3"],
  ["fe80::1%eth0", "fe80:0:0:0"],
  ["", ""],
])("countedHost: %s is counted as %s", (host, counted) => {
  expect(countedHost(host)).toBe(counted);
});
