// What is told of a machine without routes, and behind firewalls: in a network of its own, which needs root.
import { expect, it } from "vitest";
import { TestCa } from "../support/certificates.ts";

const RULES = `
set -e
ip link set lo up
iptables -A INPUT -p tcp --dport 9001 -j DROP
iptables -A INPUT -p tcp --dport 9002 -j REJECT --reject-with icmp-host-unreachable
iptables -A INPUT -p tcp --dport 9003 -j REJECT --reject-with tcp-reset
exec "$@"`;

const lacking = whatLacks();

function whatLacks(): string | undefined {
  const tool = ["unshare", "ip", "iptables"].find((name) => !Bun.which(name));
  if (tool) return `${tool} is not installed`;
  const probe = Bun.spawnSync(["unshare", "-n", "sh", "-c", RULES, "sh", "true"], { stderr: "ignore" });
  return probe.success ? undefined : "it needs root, and a kernel with iptables";
}

it.skipIf(lacking !== undefined)(
  `TcpTransport: only a refusal is told as one, and a dial given up keeps no process (${lacking ?? "in a network of its own"})`,
  async () => {
    const credentials = await (await TestCa.make()).issue("node1");
    const dial = new URL("../fixtures/transports/dial.ts", import.meta.url).pathname;
    const targets = [
      "127.0.0.1:9001",
      "127.0.0.1:9002",
      "127.0.0.1:9003",
      "127.0.0.1:9004",
      "192.0.2.1:1",
      "[2001:db8::1]:1",
    ];
    const command = ["unshare", "-n", "sh", "-c", RULES, "sh", process.execPath, dial];
    const child = Bun.spawn([...command, ...targets.map((target) => `tcp://${target}`)], {
      stdin: new Blob([JSON.stringify(credentials)]),
      stdout: "pipe",
    });
    const lines = (await new Response(child.stdout).text()).trim().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { code: "TIMEOUT", text: expect.stringMatching(/9001 did not answer within 300 ms: no answer; .*no firewall/) },
      { code: "UNREACHABLE", cause: "EHOSTUNREACH", text: expect.stringMatching(/no route to it/) },
      { code: "UNREACHABLE", cause: "ECONNREFUSED", text: expect.stringMatching(/refused: nothing listens there/) },
      { code: "UNREACHABLE", cause: "ECONNREFUSED", text: expect.stringMatching(/refused: nothing listens there/) },
      { code: "UNREACHABLE", cause: "ENETUNREACH", text: expect.stringMatching(/no route to it/) },
      { code: "UNREACHABLE", cause: "ENETUNREACH", text: expect.stringMatching(/no route to it/) },
    ]);
    expect(await child.exited).toBe(0); // the end of the output was its end, long before the kernel gives up
  },
);
