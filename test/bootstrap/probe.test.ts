import { chmodSync, mkdirSync, readdirSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { hostFacts } from "../../core/bootstrap/host-facts.ts";
import { probe } from "../../core/bootstrap/probe.ts";
import { testFolder } from "../support/mesh.ts";
import { localShell } from "./local-shell.ts";
import { LOGIN_SHELLS, loginIn, noMounts, PLAIN_TOOLS, pathWith } from "./logins.ts";

let folder: ReturnType<typeof testFolder>;
beforeEach(() => {
  folder = testFolder({ "home/.keep": "" });
});
afterEach(() => folder[Symbol.dispose]());
const home = () => folder.at("home");

describe("probe", () => {
  test.each(LOGIN_SHELLS)("F7: tells what this machine is, by a login with %s", async (shell) => {
    const facts = await probe(localShell({ home: home(), login: [shell, "-c"] }));
    expect(facts.platform).toMatchObject({ os: "linux", arch: process.arch });
    expect(facts.cores).toBe(availableParallelism());
    expect(Math.abs(facts.memoryBytes! - totalmem())).toBeLessThan(64 * 1024 * 1024);
    expect(Math.abs(facts.clockAheadMs!)).toBeLessThan(10_000);
    expect(facts.uid).toBe(process.getuid!());
    expect(facts.home).toBe(home());
    expect(facts.folders[0]).toMatchObject({ path: `${home()}/.cache/mesh` });
    expect(facts.folders[0]!.problem).toBeUndefined();
    expect(facts.folders[0]!.freeBytes).toBeGreaterThan(0);
    expect(facts.tools).toContain("gzip");
  });

  test("F7: runs in busybox's shell too", async ({ skip }) => {
    if (!Bun.which("busybox")) skip("busybox is not here");
    mkdirSync(folder.at("applets"));
    Bun.spawnSync(["busybox", "--install", "-s", folder.at("applets")]);
    const facts = await probe(localShell({ home: home(), env: { PATH: folder.at("applets") } }));
    expect(facts.platform.arch).toBe(process.arch);
    expect(facts.folders[0]!.problem).toBeUndefined();
    expect(facts.folders[0]!.freeBytes).toBeGreaterThan(0);
  });

  test.each([
    ["1000", "b true", true],
    ["1000", "b false", undefined],
    ["1000", "", undefined],
    ["0", "b true", undefined],
  ])("F98: user %s, and systemd says %j to whether logins end with all they started", async (uid, says, ends) => {
    folder.write({
      "bin/id": `#!/bin/sh\n[ "$1" = -u ] && echo ${uid} || echo nobody-lingers\n`,
      "bin/busctl": `#!/bin/sh\necho '${says}'\n`,
    });
    for (const tool of ["id", "busctl"]) chmodSync(folder.at(`bin/${tool}`), 0o755);
    const env = { PATH: `${folder.at("bin")}:${process.env.PATH}` };
    expect((await probe(localShell({ home: home(), env }))).endsWithLogin).toBe(ends);
  });

  test("F6: leaves nothing behind", async () => {
    await probe(localShell({ home: home() }));
    expect(readdirSync(home())).toEqual([".keep"]);
  });

  test("F7: passes over whatever else a login prints", async () => {
    const noise = "echo Welcome; echo 'system Windows' >&2; printf 'mesh-0 probe 1\\nno newline at the end'";
    const login = ["/bin/sh", "-c", `${noise}; exec sh -c "$0"`];
    expect((await probe(localShell({ home: home(), login }))).platform.os).toBe("linux");
  });

  test("F7: takes $XDG_CACHE_HOME when it is an absolute path", async () => {
    const env = { XDG_CACHE_HOME: folder.at("caches") };
    expect((await probe(localShell({ home: home(), env }))).folders[0]!.path).toBe(folder.at("caches/mesh"));
    const other = await probe(localShell({ home: home(), env: { XDG_CACHE_HOME: "caches" } }));
    expect(other.folders[0]!.path).toBe(`${home()}/.cache/mesh`);
  });

  test.each([
    ["/bin/false", ["/bin/false"], /ended with status 1 and printed nothing; give that user a shell/],
    [
      "nologin",
      ["/bin/sh", "-c", "echo This account is not available.; exit 1"],
      /printed: This account is not available/,
    ],
    ["a shell that another program is", ["/bin/sh", "-c", "exec cat"], /printed: .*give that user a shell/],
  ])("a login with %s says that no command can be run, and what to do", async (_, login, words) => {
    const failed = probe(localShell({ home: home(), login }));
    await expect(failed).rejects.toMatchObject({ code: "UNREACHABLE", message: expect.stringMatching(words) });
    await expect(failed).rejects.toThrow(/^user@host1: /);
  });

  test("a login without sh in its PATH says so", async () => {
    const shell = localShell({ home: home(), env: { PATH: folder.at("nowhere") } });
    await expect(probe(shell)).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("there is no `sh`"),
    });
  });

  test("a host without uname says so", async () => {
    const shell = localShell({ home: home(), env: { PATH: pathWith(folder.path, PLAIN_TOOLS) } });
    await expect(probe(shell)).rejects.toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("no `uname`"),
    });
  });

  test("a home that cannot be written to is told, and the next folder is there", async ({ skip }) => {
    if (noMounts) skip(noMounts);
    const login = loginIn(`mount -t tmpfs -o ro tmpfs ${home()}; mount -t tmpfs tmpfs /var/tmp`);
    const { folders } = await probe(localShell({ home: home(), login }));
    expect(folders[0]!.problem).toMatchObject({ kind: "unwritable", words: expect.stringContaining("Read-only") });
    expect(folders[1]).toMatchObject({ path: "/var/tmp/mesh-0" });
    expect(folders[1]!.problem).toBeUndefined();
  });

  test("F7: a folder that runs no programs is found by running one", async ({ skip }) => {
    if (noMounts) skip(noMounts);
    const login = loginIn(`mount -t tmpfs -o noexec tmpfs ${home()}`);
    const { folders } = await probe(localShell({ home: home(), login }));
    expect(folders[0]!.problem).toMatchObject({ kind: "noexec" });
  });

  test.for([
    ["is a symbolic link", "ln -s /root /var/tmp/mesh-0", "symbolic link"],
    ["others may enter", "mkdir -m 755 /var/tmp/mesh-0", "others may enter it"],
    ["is somebody else's", "mkdir -m 700 /var/tmp/mesh-0; chown 12345 /var/tmp/mesh-0", "belongs to user 12345"],
    ["is a file", "touch /var/tmp/mesh-0", "File exists"],
  ] as const)("a shared folder that %s is not used", async ([, prepare, words], { skip }) => {
    if (noMounts) skip(noMounts);
    const login = loginIn(`mount -t tmpfs tmpfs /var/tmp; ${prepare}`);
    const { folders } = await probe(localShell({ home: home(), login }));
    expect(folders[1]!.problem?.words).toContain(words);
  });
});

describe("hostFacts", () => {
  const read = (lines: Record<string, string>) =>
    hostFacts({ answers: Object.entries(lines), askedMs: 0, answeredMs: 0 }, "host1");

  test.each([
    [
      { system: "Linux", machine: "x86_64", libc: "glibc 2.36", avx2: "yes" },
      { os: "linux", arch: "x64", libc: "glibc" },
    ],
    [
      { system: "Linux", machine: "x86_64", libc: "glibc 2.36" },
      { os: "linux", arch: "x64", libc: "glibc", isBaseline: true },
    ],
    [
      { system: "Linux", machine: "aarch64", libc: "musl" },
      { os: "linux", arch: "arm64", libc: "musl" },
    ],
    [
      { system: "Darwin", machine: "arm64" },
      { os: "darwin", arch: "arm64" },
    ],
  ])("F8: %o is %o", (lines, platform) => {
    expect(read(lines).platform).toEqual(platform);
  });

  test.each([
    [{ system: "FreeBSD", machine: "amd64" }, "FreeBSD amd64"],
    [{ system: "Linux", machine: "riscv64" }, "Linux riscv64"],
    [{ system: "Linux", machine: "aarch64", bits: "32" }, "user land of 32 bits"],
  ])("F8: for %o there is no mesh", (lines, words) => {
    expect(() => read(lines)).toThrow(words);
  });
});
