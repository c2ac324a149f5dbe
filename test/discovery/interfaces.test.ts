import type { NetworkInterfaceInfo } from "node:os";
import { expect, it } from "vitest";
import { broadcastOf, INTERFACE_LIMIT, isOnLink, lanInterfaces } from "../../core/discovery/interfaces.ts";

function info(address: string, netmask: string, internal = false): NetworkInterfaceInfo {
  return address.includes(":")
    ? { address, netmask, internal, mac: "", family: "IPv6", cidr: null, scopeid: 0 }
    : { address, netmask, internal, mac: "", family: "IPv4", cidr: null };
}

it("lanInterfaces (F10): the first IPv4 address of each interface, loopback first", () => {
  const all = {
    eth0: [info("fe80::1", "ffff::"), info("10.0.0.5", "255.0.0.0"), info("10.9.0.5", "255.255.0.0")],
    wlan0: [info("fe80::2", "ffff::")],
    lo: [info("127.0.0.1", "255.0.0.0", true), info("::1", "ffff::", true)],
    tun0: undefined,
  };
  expect(lanInterfaces(all)).toEqual([
    { name: "lo", address: "127.0.0.1", netmask: "255.0.0.0" },
    { name: "eth0", address: "10.0.0.5", netmask: "255.0.0.0" },
  ]);
});

it("lanInterfaces (F10): only those that are named are used, when any are", () => {
  const [lo, eth0, eth1] = ["127.0.0.1", "10.0.0.5", "198.51.100.7"].map((address) => [info(address, "255.0.0.0")]);
  const all = { lo, eth0, eth1 };
  const names = (only: string | undefined) => lanInterfaces(all, only).map(({ name }) => name);
  expect(names(undefined)).toEqual(["lo", "eth0", "eth1"]);
  expect(names("lo, eth1")).toEqual(["lo", "eth1"]);
  expect(names("wlan0")).toEqual([]);
  expect(names("")).toEqual([]);
});

it("lanInterfaces (F10): a machine with a hundred bridges uses only so many as a socket may join", () => {
  const bridges = Array.from({ length: 100 }, (_, n) => [`br${n}`, [info(`10.${n}.0.1`, "255.255.0.0")]] as const);
  const lo = ["lo", [info("127.0.0.1", "255.0.0.0", true)]] as const;
  const found = lanInterfaces(Object.fromEntries([...bridges, lo]));
  expect(found.length).toBe(INTERFACE_LIMIT);
  expect(found[0]?.name).toBe("lo");
});

it.each([
  ["10.0.0.5", "255.255.255.0", "10.0.0.255"],
  ["192.168.7.9", "255.255.252.0", "192.168.7.255"],
  ["127.0.0.1", "255.0.0.0", "127.255.255.255"],
  ["200.1.2.3", "0.0.0.0", "255.255.255.255"],
  ["10.0.0.4", "255.255.255.254", undefined],
  ["10.8.0.2", "255.255.255.255", undefined],
])("broadcastOf (F10): %s in %s is %s", (address, netmask, broadcast) => {
  expect(broadcastOf({ name: "eth0", address, netmask })).toBe(broadcast);
});

it("isOnLink (F10): tells addresses of our networks from others", () => {
  const interfaces = [
    { name: "eth0", address: "10.0.0.5", netmask: "255.255.255.0" },
    { name: "eth1", address: "192.168.4.1", netmask: "255.255.252.0" },
  ];
  expect(["10.0.0.77", "192.168.7.1"].every((from) => isOnLink(from, interfaces))).toBe(true);
  expect(["10.0.1.5", "192.168.8.1", "127.0.0.1", "nonsense"].some((from) => isOnLink(from, interfaces))).toBe(false);
});
