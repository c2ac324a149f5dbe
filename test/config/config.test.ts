import { chmodSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkConfig, checkSource, findConfig, loadConfig } from "../../core/config/mod.ts";
import { isMeshError } from "../../core/errors.ts";
import { ROOT, temporaryFolder } from "../cmd/mesh.ts";

async function textOf(source: string | Uint8Array): Promise<string> {
  using folder = temporaryFolder();
  const result = await checkConfig(folder.write("mesh.toml", source));
  return "text" in result ? result.text.replaceAll(/\S*\/mesh\.toml/g, "mesh.toml") : "right";
}

describe("loadConfig", () => {
  it("mesh.toml.example says what the design says", async () => {
    const config = await loadConfig(join(ROOT, "mesh.toml.example"));
    expect(config).toMatchObject({ name: "lab", transports: ["tcp", "udp"], heartbeatMs: 1000 });
    expect(config.hosts).toHaveLength(18);
    expect(config.hosts[0]).toEqual({
      name: "gpu1",
      listen: ["tcp://[::]:7460"],
      advertise: ["tcp://vps.example.net:7460"],
      provider: "ssh",
      ssh: "alice@10.0.0.5",
      slots: 8,
      slotMemoryBytes: 16 * 2 ** 30,
      tags: ["gpu"],
    });
    expect(config.rendezvous).toMatchObject({
      ssh: "alice@vps.example.net",
      settings: { ports: [40_000, 40_099], relayBytesPerSecond: 10 * 2 ** 20, relayPairs: 40 },
    });
    expect(config.hosts[16]).toMatchObject({ name: "rack16", ssh: "rack16.lan", slots: 4 });
    expect(config.hosts[17]).toMatchObject({ name: "here", provider: "local" });
    expect(readFileSync(join(ROOT, "mesh.toml.example"), "utf8")).toMatch(/^#:schema /);
  });

  it("an empty file is all defaults", async () => {
    using folder = temporaryFolder();
    const file = folder.write("mesh.toml", "");
    expect(await loadConfig(file)).toEqual({
      file,
      name: "mesh",
      transports: ["tcp", "udp"],
      heartbeatMs: 1000,
      suspectAfterMs: 3000,
      downAfterMs: 10_000,
      leaseMs: 10_000,
      coordinator: { host: "local" },
      rendezvous: { settings: {} },
      hosts: [],
      transport: {},
      plugins: { providers: [] },
    });
  });

  it("throws CONFIG with all problems at once, in the order of the file", async () => {
    using folder = temporaryFolder();
    const file = folder.write("mesh.toml", '[hosts.a]\nslots = 0\n[mesh]\nnmae = "x"\nslots = "y"\n');
    const error = await loadConfig(file).catch((error) => error);
    expect(isMeshError(error, "CONFIG")).toBe(true);
    expect(error.message.match(/:\d+:\d+: \S+/g)).toEqual([
      ":2:9: hosts.a.slots:",
      ":4:1: mesh.nmae:",
      ":5:9: mesh.slots:",
    ]);
  });

  it("relative plugins are relative to the file", async () => {
    using folder = temporaryFolder();
    const file = folder.write("mesh.toml", '[plugins]\nproviders = ["./t.ts"]\n[hosts.a]\nprovider = "mine"\n');
    expect((await loadConfig(file)).plugins.providers).toEqual([join(folder.path, "t.ts")]);
  });
});

describe("checkConfig tells place and reason (F88)", () => {
  it("points at the value with a caret", async () => {
    expect(await textOf('[mesh]\n\n[hosts.gpu1]\nslots = "eight"\n')).toBe(
      'mesh.toml:4:9: hosts.gpu1.slots: expected a whole number of 1 to 4096, got "eight"\n' +
        '    slots = "eight"\n            ^',
    );
  });

  it.each([
    ["[hosts.a]\nslosts = 1", "2:1: hosts.a.slosts: unknown key: did you mean `slots`?"],
    ["[hsots.a]", "1:2: hsots: unknown key: did you mean `hosts`?"],
    ["zzz = 1", "1:1: zzz: unknown key: there are mesh, coordinator"],
    ["[mesh]\nslots = 1.5", "2:9: mesh.slots: expected a whole number of 1 to 4096, got 1.5"],
    ["[mesh]\nslots = inf", "2:9: mesh.slots: expected a whole number of 1 to 4096, got"],
    ["mesh = 1", "1:8: mesh: expected a table, got 1"],
    ["hosts.a.b.c = 1", "1:9: hosts.a.b: unknown key"],
    ['[hosts."b c"]', '1:8: hosts."b c": "b c" cannot be a host\'s name'],
    ["hosts = { x = { slots = 0 } }", "1:25: hosts.x.slots: expected a whole number"],
    ["[[hosts]]\nx = 1", "1:3: hosts: expected a table of hosts: [hosts.NAME], got a list"],
    ["[hosts.a]\ntags = [\n  'a',\n  3\n]", "4:3: hosts.a.tags[1]: expected a tag"],
    ["[mesh]\nslotMemory = '3'", '2:14: mesh.slotMemory: expected a size such as "512M"'],
    ["[mesh]\nslotMemory = '1M'", "at least 32M, got"],
    ["[mesh]\nheartbeat = 3", '2:13: mesh.heartbeat: expected a time such as "500ms"'],
    [
      "[mesh]\nheartbeat = '5s'",
      "2:13: mesh.heartbeat: suspectAfter (3000 ms) must be longer than heartbeat (5000 ms)",
    ],
    ["[mesh]\ntransports = []", "2:14: mesh.transports: expected at least one transport, got an empty list"],
    ["[mesh]\ntransports = ['tpc']", 'no transport is named "tpc": did you mean "tcp"?'],
    [
      "[mesh]\ntransports = ['tcp']\n[hosts.a]\nadvertise = ['tcp://b:1', 'udp://b:1']",
      "4:27: hosts.a.advertise[1]: udp is not among the transports of [mesh]: add it there",
    ],
    ["[coordinator]\nlisten = ['upd://[::]:1']", '2:11: coordinator.listen[0]: no transport is named "upd"'],
    [
      "[rendezvous]\nhost = 'gpu2'\n[hosts.gpu1]",
      '2:8: rendezvous.host: no host is named "gpu2": did you mean "gpu1"?',
    ],
    ["[rendezvous]\nhost = 'a'\nssh = 'b'\n[hosts.a]", "3:1: rendezvous.ssh: does not go with host"],
    ["[rendezvous]\nhots = 'a'", "2:1: rendezvous.hots: unknown key: did you mean `host`?"],
    ["[rendezvous]\nlisten = ['udp://[::]:7451']", "2:1: rendezvous.listen: needs host or ssh"],
    ["[rendezvous]\nssh = 'a'\n[hosts.rendezvous]", "2:1: rendezvous.ssh: its node is named rendezvous"],
    ["[rendezvous]\nssh = '-oProxyCommand=x'", '2:7: rendezvous.ssh: expected a name for ssh, such as "alice@vps'],
    ["[rendezvous]\nports = 40000", '2:9: rendezvous.ports: expected a range of ports such as "40000-40099"'],
    ["[rendezvous]\nrelay_rate = '1M'", "2:1: rendezvous.relay_rate: unknown key: did you mean `relayRate`?"],
    ["[rendezvous]\nrelayRate = '1K'", '2:13: rendezvous.relayRate: expected a size such as "512M"'],
    ["[rendezvous]\nrelayRate = '1M/s'", "at least 128K, got"],
    ["[rendezvous]\nrelayRate = 10", "expected a size"],
    [
      "[rendezvous]\nports = '40000-40009'\nrelayPairs = 5",
      "3:14: rendezvous.relayPairs: is more than ports has room for, which is 4",
    ],
    ["[rendezvous]\nrelayPairs = 0", "2:14: rendezvous.relayPairs: expected a whole number of 1 to 30000, got 0"],
    ["[rendezvous]\nrelayPairs = '9'", "expected a whole number of 1 to 30000"],
    ["[rendezvous]\nports = '40000-40001'", "4 or more, from 1 to 65535, got"],
    ["[rendezvous]\nports = '40099-40000'", "expected a range of ports"],
    ["[rendezvous]\nports = '65000-66000'", "expected a range of ports"],
    [
      "[mesh]\ntransports = ['tcp']\n[rendezvous]\nssh = 'a'\nadvertise = ['udp://b:1']",
      "5:14: rendezvous.advertise[0]: udp is not among the transports of [mesh]",
    ],
    ["[rendezvous]\nadvertise = ['upd://b:1']\nssh = 'a'", 'no transport is named "upd": did you mean "udp"?'],
    ["[transport.tcp]\nmtu = 1", "2:1: transport.tcp.mtu: unknown key: the transport tcp has no settings"],
    ["[transport.xyz]", '1:12: transport.xyz: no transport is named "xyz"'],
    ["[hosts.a]\nprovider = 'shs'", 'no provider is named "shs": did you mean "ssh"?'],
    ["[coordinator]\nhost = 'gpu2'\n[hosts.gpu1]", 'no host is named "gpu2": did you mean "gpu1"?'],
    ["[coordinator]\nlisten = ['tcp://0.0.0.0:70000']", "2:11: coordinator.listen[0]: expected an address"],
    ["[hosts.local]", 'a host cannot be named "local"'],
    ["[hosts.__proto__]", "hosts.__proto__: a host cannot have this name"],
    ["__proto__.x = 1", "1:1: __proto__: unknown key"],
    ["[constructor]", "1:2: constructor: unknown key"],
    ["[hosts.toString]\nfoo = 1", "2:1: hosts.toString.foo: unknown key"],
    ["[hosts.'r[1-3]']\n[hosts.r2]", '2:8: hosts.r2: stands for r2, which [hosts."r[1-3]"] names already'],
    ["[hosts.'r[3-1]']", "the range 3-1 runs backwards"],
    ["[hosts.'r[1-3]']\nssh = 'x[1-2]'", '2:7: hosts."r[1-3]".ssh: stands for 2 logins, its hosts\' name for 3'],
    ["[hosts.'r[1-3]']\nssh = 'x'", "is one login for 3 hosts"],
    ["[hosts.a]\nssh = 'x'\nprovider = 'local'", "2:1: hosts.a.ssh: does not go with provider"],
    ["[hosts.a]\nssh = '-oProxyCommand=x'", "2:7: hosts.a.ssh: expected a name for ssh"],
    ['[hosts.a]\nssh = "a\\u001b[31mb"', "expected a name for ssh"],
    ["[mesh]\nname = 1979-05-27T07:32:00Z", "got the date 1979-05-27T07:32:00.000Z"],
  ])("%j", async (source, told) => {
    expect(await textOf(source)).toContain(told);
  });

  it.each([
    ["a = 1\na = 2\n", "2:1: Cannot redefine key 'a'"],
    ["[a]\n[a]\n", "2:1: Cannot redefine table 'a'"],
    ['[mesh]\nname = "x\n', "2:10: Unterminated string"],
    ["[mesh\n", "1:6: Expected ']'"],
    ["x = [1,\n", "Unterminated array"],
    ["x = 99999999999999999999", "outside the 64-bit"],
    ["\0\x01\x02", "1:1: Expected a key but found (0x00)"],
    [`x = ${"[".repeat(100_000)}`, "nested too deeply"],
  ])("grammar: %j", async (source, told) => {
    expect(await textOf(source)).toContain(told);
  });

  it("no control character of the file reaches the terminal", async () => {
    const told = await textOf('[mesh]\nname = "\u001b[2J\u009b"\n');
    expect(told.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  });

  it("a file of 1 MB is told in a few lines, a larger one is refused, both within a second", async () => {
    const start = performance.now();
    const hosts = Array.from({ length: 30_000 }, (_, index) => `[hosts.h${index}]\nslots=1\n`).join("");
    expect((await textOf(hosts)).length).toBeLessThan(500);
    expect((await textOf(`[mesh]\nname = "${"y".repeat(1_000_000)}"`)).length).toBeLessThan(500);
    expect(await textOf("#".repeat(2 ** 20 + 1))).toContain("a mesh.toml may have 1 MiB");
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it("bytes that are no UTF-8", async () => {
    expect(await textOf(new Uint8Array([0x5b, 0xff, 0xfe]))).toContain("is not text in UTF-8");
  });

  it("relayPairs as far as ports goes, and any without UDP", async () => {
    const rendezvous = (pairs: number) => `[rendezvous]\nports = "40000-40009"\nrelayPairs = ${pairs}\n`;
    expect(await textOf(rendezvous(4))).toBe("right");
    expect(await textOf(`[mesh]\ntransports = ["tcp"]\n${rendezvous(500)}`)).toBe("right");
  });

  it("a byte order mark and CRLF are fine", async () => {
    expect(await textOf('\u{feff}[mesh]\r\nname = "a"\r\n')).toBe("right");
    expect(await textOf('[mesh]\r\nnmae = "a"\r\n')).toContain("2:1: mesh.nmae");
  });

  it("any text gives an answer, never a bug", async () => {
    const word = fc.constantFrom(
      "[",
      "]",
      "mesh",
      "hosts",
      ".",
      "=",
      '"',
      "'",
      "\n",
      "1",
      "{",
      "}",
      ",",
      "slots",
      "é",
      "\0",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 30 }), async (words) => {
        const result = await checkSource(words.join(""), "mesh.toml");
        expect("config" in result || result.text.length > 0).toBe(true);
      }),
    );
  });
});

describe("findConfig and files that cannot be read", () => {
  it("finds the nearest above, or none", () => {
    using folder = temporaryFolder();
    const file = folder.write("mesh.toml", "");
    mkdirSync(join(folder.path, "a/b"), { recursive: true });
    expect(findConfig(join(folder.path, "a/b"))).toBe(file);
    using other = temporaryFolder();
    expect(findConfig(other.path)).toBeUndefined();
  });

  it("a folder, a broken or circular link and a missing file say what they are", async () => {
    using folder = temporaryFolder();
    mkdirSync(join(folder.path, "mesh.toml"));
    expect(findConfig(folder.path)).toBe(join(folder.path, "mesh.toml"));
    const text = async (name: string) => {
      const result = await checkConfig(join(folder.path, name));
      return "text" in result ? result.text : "";
    };
    symlinkSync("loop", join(folder.path, "loop"));
    expect(await text("mesh.toml")).toContain("is a folder, not a file");
    expect(await text("loop")).toContain("leads back to itself");
    expect(await text("none.toml")).toContain("does not exist");
  });

  it.skipIf(process.getuid?.() === 0)(
    "a file without read permission says so (skipped for root, who may read all)",
    async () => {
      using folder = temporaryFolder();
      const file = folder.write("mesh.toml", "");
      chmodSync(file, 0);
      const result = await checkConfig(file);
      expect("text" in result && result.text).toContain("may not be read by this user");
    },
  );
});
