import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { posixCksum } from "../../core/bootstrap/cksum.ts";
import { binaryCommand, installBinary, isInstalled } from "../../core/bootstrap/install.ts";
import { probe } from "../../core/bootstrap/probe.ts";
import type { Conversation, Shell } from "../../core/bootstrap/shell.ts";
import type { Binary, Packing } from "../../core/provider.ts";
import { kill, processesOf, testFolder } from "../support/mesh.ts";
import { until } from "../support/until.ts";
import { type LocalShellOptions, localShell } from "./local-shell.ts";
import { LOGIN_SHELLS, loginIn, noMounts, PLAIN_TOOLS, pathWith } from "./logins.ts";

let folder: ReturnType<typeof testFolder>;
beforeEach(() => {
  folder = testFolder({ "home/.keep": "" });
});
afterEach(() => folder[Symbol.dispose]());

/** A program of a megabyte that stands for the binary: it says "ok" to all. */
function program(script = "echo ok; exit 0", name = "program"): Binary {
  const path = folder.at(name);
  const filler = () => `: ${Buffer.from(crypto.getRandomValues(new Uint8Array(48 * 1024))).toString("base64")}\n`;
  writeFileSync(path, `#!/bin/sh\n${script}\n${Array.from({ length: 16 }, filler).join("")}`);
  chmodSync(path, 0o755);
  const bytes = readFileSync(path);
  const sha256 = new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
  const packed = async (format: Packing) => {
    const packedPath = `${path}.${format}`;
    const packedBytes = format === "gzip" ? Bun.gzipSync(bytes) : Bun.zstdCompressSync(bytes);
    writeFileSync(packedPath, packedBytes);
    return { path: packedPath, sizeBytes: packedBytes.length };
  };
  return { path, sha256, sizeBytes: bytes.length, packed };
}

function shellOf(options: Partial<LocalShellOptions> = {}): Shell {
  const env = { MESH_TEST_MARK: folder.marker, ...options.env };
  return localShell({ home: folder.at("home"), ...options, env });
}

async function install(shell: Shell, binary: Binary, signal?: AbortSignal) {
  return await installBinary(shell, await probe(shell), binary, signal ? { signal } : {});
}

/** As this machine gets it. */
async function packedBytes(binary: Binary, format: Packing = Bun.which("zstd") ? "zstd" : "gzip"): Promise<number> {
  return (await binary.packed(format)).sizeBytes;
}

const cache = () => folder.at("home/.cache/mesh");
const placeOf = ({ sha256 }: Binary) => join(cache(), "bin", sha256, "mesh");
const isSame = (path: string, binary: Binary) => readFileSync(path).equals(readFileSync(binary.path));

describe("installBinary", () => {
  test.each(LOGIN_SHELLS)(
    "F6: puts the binary into the cache by its digest, once, by a login with %s",
    async (shell) => {
      const login = shellOf({ login: [shell, "-c"] });
      const binary = program();
      expect(await install(login, binary)).toEqual({ path: placeOf(binary), sentBytes: await packedBytes(binary) });
      expect(isSame(placeOf(binary), binary)).toBe(true);
      expect(statSync(placeOf(binary)).mode & 0o777).toBe(0o700);
      expect(readdirSync(dirname(placeOf(binary))).toSorted()).toEqual(["mesh", "stamp"]);
      expect(isInstalled(await probe(login), binary)).toBe(true);
      expect(await install(login, binary)).toEqual({ path: placeOf(binary), sentBytes: 0 });
    },
  );

  test("F6: works with busybox alone", async ({ skip }) => {
    if (!Bun.which("busybox")) skip("busybox is not here");
    folder.write({ "applets/.keep": "" });
    Bun.spawnSync(["busybox", "--install", "-s", folder.at("applets")]);
    const shell = shellOf({ env: { PATH: folder.at("applets") } });
    const binary = program();
    expect((await install(shell, binary)).sentBytes).toBe(await packedBytes(binary, "gzip"));
    expect((await install(shell, binary)).sentBytes).toBe(0);
  });

  test.each(["gzip", "zstd"] as const)("F6: sends it by %s where there is that alone", async (format) => {
    const tools = [...PLAIN_TOOLS, "uname", "sha256sum", format];
    const shell = shellOf({ env: { PATH: pathWith(folder.path, tools) } });
    const binary = program();
    expect((await install(shell, binary)).sentBytes).toBe(await packedBytes(binary, format));
    expect(isSame(placeOf(binary), binary)).toBe(true);
  });

  test("F6: sends it as it is where there is no gzip, and checks it by cksum where there is nothing better", async () => {
    const tools = [...PLAIN_TOOLS, "uname", "cksum"];
    const shell = shellOf({ env: { PATH: pathWith(folder.path, tools) } });
    const binary = program();
    expect((await install(shell, binary)).sentBytes).toBe(binary.sizeBytes);
    expect(isSame(placeOf(binary), binary)).toBe(true);
    utimesSync(placeOf(binary), 0, 0);
    expect((await install(shell, binary)).sentBytes).toBe(0);
  });

  test("X29: a binary that was cut short is noticed without reading it, and replaced", async () => {
    const binary = program();
    await install(shellOf(), binary);
    truncateSync(placeOf(binary), binary.sizeBytes - 10_000);
    expect(isInstalled(await probe(shellOf()), binary)).toBe(false);
    expect((await install(shellOf(), binary)).sentBytes).toBe(await packedBytes(binary));
    expect(isSame(placeOf(binary), binary)).toBe(true);
  });

  test("X29: a binary that was altered is noticed, also with its old size and time, and replaced", async () => {
    const binary = program();
    await install(shellOf(), binary);
    const { atime, mtime } = statSync(placeOf(binary));
    const bytes = readFileSync(placeOf(binary));
    bytes[500_000]! ^= 1;
    writeFileSync(placeOf(binary), bytes);
    utimesSync(placeOf(binary), atime, mtime);
    expect((await install(shellOf(), binary)).sentBytes).toBe(await packedBytes(binary));
    expect(isSame(placeOf(binary), binary)).toBe(true);
  });

  test("a binary whose time alone has changed is looked at and not sent again", async () => {
    const binary = program();
    await install(shellOf(), binary);
    const now = new Date();
    utimesSync(placeOf(binary), now, now);
    expect(isInstalled(await probe(shellOf()), binary)).toBe(false);
    expect((await install(shellOf(), binary)).sentBytes).toBe(0);
    expect(isInstalled(await probe(shellOf()), binary)).toBe(true);
  });

  test("X29: two uploads at once both end with the whole binary", async () => {
    const binary = program();
    const both = await Promise.all([install(shellOf(), binary), install(shellOf(), binary)]);
    expect(both.map(({ path }) => path)).toEqual([placeOf(binary), placeOf(binary)]);
    expect(isSame(placeOf(binary), binary)).toBe(true);
    expect(readdirSync(dirname(placeOf(binary))).toSorted()).toEqual(["mesh", "stamp"]);
  });

  test("X29: an upload that breaks off leaves nothing", async () => {
    const binary = program();
    const facts = await probe(shellOf());
    await expect(
      installBinary(
        breakingShell(shellOf(), (conversation) => conversation.end()),
        facts,
        binary,
      ),
    ).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("only a part of the binary arrived"),
    });
    expect(existsSync(cache())).toBe(false);
  });

  test("X29: an upload whose host side is killed leaves no binary, and what it leaves is removed an hour later", async () => {
    const binary = program();
    const facts = await probe(shellOf());
    const killAll = () => {
      for (const { pid } of processesOf(folder.marker)) kill(pid, "SIGKILL");
    };
    await expect(installBinary(breakingShell(shellOf(), killAll), facts, binary)).rejects.toMatchObject({
      code: "LINK_CLOSED",
    });
    const place = dirname(placeOf(binary));
    const [left, ...more] = readdirSync(place);
    expect(left).toMatch(/^\.part-/);
    expect(more).toEqual([]);
    await install(shellOf(), binary);
    expect(readdirSync(place)).toContain(left);
    const old = new Date(Date.now() - 2 * 3_600_000);
    utimesSync(join(place, left!), old, old);
    truncateSync(placeOf(binary), 10);
    await install(shellOf(), binary);
    expect(readdirSync(place).toSorted()).toEqual(["mesh", "stamp"]);
  });

  test("F6: a build that nobody has put there for a month goes when another one comes", async () => {
    const [first, second, third] = ["a", "b", "c"].map((name) => program(`echo ${name}`, name)) as [
      Binary,
      Binary,
      Binary,
    ];
    await install(shellOf(), first);
    await install(shellOf(), second);
    const old = new Date(Date.now() - 32 * 86_400_000);
    utimesSync(join(dirname(placeOf(first)), "stamp"), old, old);
    await install(shellOf(), third);
    expect([first, second, third].map((each) => existsSync(placeOf(each)))).toEqual([false, true, true]);
  });

  test("Ctrl-C in the middle of the upload leaves nothing", async () => {
    const binary = program();
    const facts = await probe(shellOf());
    const stop = new AbortController();
    const shell = breakingShell(shellOf(), () => stop.abort());
    await expect(installBinary(shell, facts, binary, { signal: stop.signal })).rejects.toMatchObject({
      code: "CANCELLED",
    });
    await until(() => processesOf(folder.marker).length === 0, { what: "the host's side to end" });
    expect(existsSync(cache())).toBe(false);
  });

  test("a binary that does not run there is not put in place, and says what it printed", async () => {
    const binary = program("echo wrong libc >&2; exit 3");
    await expect(install(shellOf(), binary)).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringMatching(/does not run there: status 3 wrong libc/),
    });
    expect(existsSync(cache())).toBe(false);
  });

  test("F7: a disk without room is passed over, or found when it fills up; the next folder is taken", async ({
    skip,
  }) => {
    if (noMounts) skip(noMounts);
    const binary = program();
    const setUp = `mount -t tmpfs -o size=512k tmpfs ${folder.at("home")}; mount --bind ${shared(folder.path)} /var/tmp`;
    const shell = shellOf({ login: loginIn(setUp) });
    const facts = await probe(shell);
    expect((await installBinary(shell, facts, binary)).path).toMatch(/^\/var\/tmp\/mesh-0\/bin\//);
    for (const each of facts.folders) delete each.freeBytes; // a quota is told by no df
    facts.folders[1]!.binaries.clear();
    expect(await installBinary(shell, facts, binary)).toMatchObject({ path: expect.stringMatching(/^\/var\/tmp\//) });
  });

  test("F7: a host without any room says how much there is in each folder", async ({ skip }) => {
    if (noMounts) skip(noMounts);
    const small = ["/var/tmp", "/tmp"].map((path) => `mount -t tmpfs -o size=512k tmpfs ${path}`);
    const login = loginIn(`mount -t tmpfs -o noexec tmpfs ${folder.at("home")}; ${small.join("; ")}`);
    const shell = localShell({ home: "/", login, env: { HOME: "/dev/full" } });
    await expect(install(shell, program())).rejects.toMatchObject({
      code: "STORAGE",
      message: expect.stringMatching(
        /^user@host1 has no place .*\/dev\/full\/.*mesh-0: 0\.5 MB free.*; make room there/,
      ),
    });
  });
});

/** A folder that every user of this machine may use. */
function shared(path: string): string {
  const place = join(path, "var-tmp");
  folder.write({ "var-tmp/.keep": "" });
  chmodSync(place, 0o1777);
  return place;
}

/** Where `act` is called once when some of the upload was sent and arrived. */
function breakingShell(shell: Shell, act: (conversation: Conversation) => void): Shell {
  return {
    ...shell,
    open: async (command, options) => {
      const conversation = await shell.open(command, options);
      let written = 0;
      return {
        ...conversation,
        stdout: conversation.stdout,
        get stderr() {
          return conversation.stderr;
        },
        ended: conversation.ended,
        end: () => conversation.end(),
        kill: () => conversation.kill(),
        write: async (bytes) => {
          if (++written === 3) {
            await until(() => hasPart(), { what: "a part of the upload to arrive" });
            act(conversation);
          }
          await conversation.write(bytes);
        },
      };
    },
  };
}

function hasPart(): boolean {
  if (!existsSync(join(cache(), "bin"))) return false;
  const names = readdirSync(join(cache(), "bin"), { recursive: true }) as string[];
  return names.some((name) => name.includes(".part-") && statSync(join(cache(), "bin", name)).size > 0);
}

describe("binaryCommand", () => {
  test("is one simple command for any login shell", () => {
    expect(binaryCommand("/home/a/.cache/mesh/bin/ab/mesh", "host")).toBe("exec /home/a/.cache/mesh/bin/ab/mesh host");
    expect(binaryCommand("/home/a b/it's", "host")).toBe(`exec '/home/a b/it'\\''s' host`);
  });
});

describe("posixCksum", () => {
  test.each([
    ["", "4294967295"],
    ["123456789", "930766865"],
    ["a".repeat(70_000), ""],
  ])("is what cksum prints", async (text, known) => {
    const { stdout } = Bun.spawnSync(["cksum"], { stdin: Buffer.from(text) });
    const printed = stdout.toString().split(" ")[0];
    expect(await posixCksum(new Blob([text]).stream())).toBe(printed);
    if (known) expect(printed).toBe(known);
  });
});
