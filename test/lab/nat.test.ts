// The lab's own routers: what they map and filter, found by plain packets.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { missingForNatLab } from "./namespaces.ts";
import { NAT_KINDS, type NatKind } from "./nat.ts";
import { Network } from "./network.ts";

const missing = missingForNatLab();

class Probe {
  readonly got: string[] = [];
  readonly #child: Bun.Subprocess<"pipe", "pipe", "inherit">;

  constructor(network: Network, name: string, port: number) {
    const command = [
      ...network.through(name),
      process.execPath,
      join(import.meta.dirname, "udp-probe.ts"),
      String(port),
    ];
    this.#child = Bun.spawn(command, { stdio: ["pipe", "pipe", "inherit"] });
    void this.#read();
  }

  send(host: string, port: number, text: string): void {
    this.#child.stdin.write(`${host} ${port} ${text}\n`);
    void this.#child.stdin.flush();
  }

  /** Waits for a text, and returns where it came from. */
  async hears(text: string): Promise<{ host: string; port: number }> {
    const find = () => this.got.find((line) => line.endsWith(` ${text}`));
    await until(() => find() !== undefined, { what: `"${text}"` });
    const [host, port] = find()!.split(" ");
    return { host: host!, port: Number(port) };
  }

  async listens(): Promise<void> {
    await until(() => this.got.includes("listens"), { what: "a probe to listen" });
  }

  end(): void {
    this.#child.kill("SIGKILL");
  }

  async #read(): Promise<void> {
    let text = "";
    for await (const chunk of this.#child.stdout) {
      text += new TextDecoder().decode(chunk);
      this.got.splice(0, this.got.length, ...text.split("\n"));
    }
  }
}

/** By kind: whether it keeps one outside port, and who gets in of: another port of a host sent to, another host. */
const KINDS: Record<NatKind, { keepsPort: boolean; letsIn: string[] }> = {
  full: { keepsPort: true, letsIn: ["same-port", "other-port", "other-host"] },
  address: { keepsPort: true, letsIn: ["same-port", "other-port"] },
  port: { keepsPort: true, letsIn: ["same-port"] },
  symmetric: { keepsPort: false, letsIn: ["same-port"] },
};

describe.skipIf(missing)(`routers of the lab${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let network: Network;
  const probes: Probe[] = [];
  const probe = (name: string, port: number) => {
    const made = new Probe(network, name, port);
    probes.push(made);
    return made;
  };

  beforeAll(() => {
    network = new Network();
    for (const name of ["a", "b"]) network.addNode(name);
    for (const kind of NAT_KINDS) {
      network.addSegment(kind);
      network.addNode(`in-${kind}`, [kind]);
      network.addRouter(kind, { letsOut: true, nat: kind });
    }
    network.addSegment("twins");
    for (const name of ["twin1", "twin2"]) network.addNode(name, ["twins"]);
    network.addRouter("twins", { letsOut: true, nat: "full", hairpin: true });
    for (const [segment, letsOut, to] of [
      ["shut", "tcp", "outside"],
      ["home", true, "shut"],
    ] as const) {
      network.addSegment(segment);
      network.addNode(`in-${segment}`, [segment]);
      network.addRouter(segment, { letsOut, to });
    }
  });
  afterAll(() => {
    for (const each of probes) each.end();
    network?.[Symbol.dispose]();
  });

  test.each(NAT_KINDS)("F22 %s: which outside ports it gives, and whose packets it lets in", async (kind) => {
    const [a, b] = [network.address("a"), network.address("b")];
    const port = 4000 + 10 * NAT_KINDS.indexOf(kind);
    const inside = probe(`in-${kind}`, port);
    const outside = [probe("a", port), probe("a", port + 1), probe("b", port)] as const;
    await Promise.all([inside, ...outside].map((each) => each.listens()));
    const router = network.address(`${kind}-router`);
    outside[0].send(router, port, "too-early");
    outside[0].send(b, port, "is-sent");
    await outside[2].hears("is-sent");
    inside.send(a, port, "first");
    const seen = await outside[0].hears("first");
    expect(seen.host).toBe(router);

    for (const [index, text] of ["same-port", "other-port", "other-host"].entries())
      outside[index]!.send(seen.host, seen.port, text);
    outside[0].send(seen.host, seen.port, "last");
    await inside.hears("last");
    const { keepsPort, letsIn } = KINDS[kind];
    await Promise.all(letsIn.map((text) => inside.hears(text)));
    const heard = inside.got.filter((line) => line !== "" && line !== "listens").map((line) => line.split(" ")[2]);
    expect(heard.toSorted()).toEqual([...letsIn, "last"].toSorted());

    inside.send(a, port + 1, "second");
    inside.send(b, port, "third");
    const others = [await outside[1].hears("second"), await outside[2].hears("third")];
    expect(new Set([seen.port, ...others.map(({ port }) => port)]).size).toBe(keepsPort ? 1 : 3);
  });

  test("X10 behind one router, two hosts reach each other from outside their network where it leads them back (hairpin)", async () => {
    const [one, two, outside] = [probe("twin1", 4100), probe("twin2", 4200), probe("a", 4200)];
    await Promise.all([one, two, outside].map((each) => each.listens()));
    const router = network.address("twins-router");
    two.send(network.address("a"), 4200, "opens");
    await outside.hears("opens");
    one.send(router, 4200, "round");
    expect((await two.hears("round")).host).toBe(router);
  });

  test("F24 a router that lets out TCP alone, and one behind it", async () => {
    const outside = probe("a", 4300);
    await outside.listens();
    for (const name of ["in-shut", "in-home"]) {
      const inside = probe(name, 4300);
      await inside.listens();
      inside.send(network.address("a"), 4300, "lost");
      const server = `exec timeout 5 ${process.execPath} -e '
        Bun.listen({hostname:"0.0.0.0",port:4400,socket:{open(s){console.log(s.remoteAddress);process.exit()},data(){}}})'`;
      const listening = Bun.spawn([...network.through("a"), "sh", "-c", server], { stdout: "pipe" });
      const dial = () => {
        const at = `exec 3<>/dev/tcp/${network.address("a")}/4400`;
        return Bun.spawnSync([...network.through(name), "bash", "-c", at], { stderr: "ignore" }).exitCode === 0;
      };
      await until(dial, { what: "a connection" });
      expect((await new Response(listening.stdout).text()).trim()).toBe(network.address("shut-router"));
    }
    expect(outside.got.join("").trim()).toBe("listens");
  });
});
