import { expect, it } from "vitest";
import { inTurns } from "../../transports/resolve.ts";
import { formatTcpAddress, parseTcpAddress } from "../../transports/tcp/address.ts";

it.each([
  ["tcp://gpu1:7450", "gpu1", 7450],
  ["tcp://gpu-1.lan_2:0", "gpu-1.lan_2", 0],
  ["tcp://10.0.0.5:65535", "10.0.0.5", 65_535],
  ["tcp://[::1]:7450", "::1", 7450],
  ["tcp://[fe80::1%eth0]:7450", "fe80::1%eth0", 7450],
])("parseTcpAddress: %s and back", (text, host, port) => {
  expect(parseTcpAddress(text)).toEqual({ host, port });
  expect(formatTcpAddress({ host, port })).toBe(text);
});

it.each([
  "gpu1:7450",
  "udp://gpu1:7450",
  "tcp://gpu1",
  "tcp://gpu1:",
  "tcp://:7450",
  "tcp://gpu1:65536",
  "tcp://gpu1:-1",
  "tcp://::1:7450",
  "tcp://[gpu1]:7450",
  "tcp://[1.2.3.4]:7450",
  "tcp://[::1]7450",
  "tcp://a b:1",
  "tcp://gpu1:7450/",
  "tcp://gpu1:7450\n",
  "",
])("parseTcpAddress: refuses %j and says how to write one", (text) => {
  const refusal = { code: "UNREACHABLE", message: expect.stringContaining("write tcp://HOST:PORT") };
  expect(() => parseTcpAddress(text)).toThrow(expect.objectContaining(refusal));
});

it.each([
  [
    ["::1", "::2", "::3", "1.1.1.1"],
    ["::1", "1.1.1.1", "::2", "::3"],
  ],
  [
    ["1.1.1.1", "2.2.2.2", "::1"],
    ["1.1.1.1", "::1", "2.2.2.2"],
  ],
  [["::1"], ["::1"]],
  [[], []],
])("inTurns: %j are tried as %j", (found, tried) => {
  expect(inTurns(found)).toEqual(tried);
});
