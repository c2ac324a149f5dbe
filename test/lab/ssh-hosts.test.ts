// The lab itself: each host behaves as it was asked to, seen by the system's ssh from the desk.
import { existsSync, readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { missingForArm64, WRITABLE } from "./ssh-host-files.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const full = Object.fromEntries(WRITABLE.map((path) => [path, 64]));

const missingArm64 = missingForArm64();

describe.skipIf(missing)(`lab of SSH hosts${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let lab: SshLab;

  beforeAll(async () => {
    lab = await SshLab.start({
      segments: { rack: "sealed", home: { letsOut: false, forwards: { 2222: { node: "natted", port: 22 } } } },
      hosts: {
        plain: {},
        jump: { segments: ["outside", "rack"] },
        inner: { segments: ["rack"], jump: "jump" },
        natted: { segments: ["home"], port: 2222 },
        full: { sizesKib: full },
        noexec: { noexec: ["/root"] },
        nowhere: { noexec: WRITABLE },
        crowded: { sshd: ["MaxStartups 1:90:2"] },
        ada: { user: "ada", shell: "/bin/sh" },
        shut: { shell: "/bin/false" },
        bare: { without: ["uname"] },
        noisy: { files: { ".bashrc": "echo welcome; echo beware >&2\n" } },
        other: { programs: { "/usr/bin/uname": "#!/bin/sh\necho riscv64\n" } },
        ...(missingArm64 === undefined && { arm: { isArm64: true } }),
      },
    });
  });
  afterAll(async () => {
    if (lab === undefined) return;
    const { id } = lab.network;
    await lab[Symbol.asyncDispose]();
    expect(readdirSync("/run/netns").filter((name) => name.startsWith(`${id}-`))).toEqual([]);
    expect(existsSync(`${tmpdir()}/${id}`)).toBe(false);
  });

  /** What a command prints on a host. */
  async function said(host: string, command: string): Promise<string> {
    const { stdout, stderr, status } = await lab.ssh(host, command);
    if (status !== 0) throw new Error(`${host}: ${status} ${stderr}\n${lab.hosts.get(host)?.log}`);
    return stdout.trim();
  }

  test("hosts take logins and tell their names", async () => {
    const names = ["plain", "inner", "natted", "full", "noexec", "nowhere", "crowded", "bare", "other"];
    const told = await Promise.all(names.map((name) => said(name, "echo $HOME $(hostname)")));
    expect(told).toEqual(names.map((name) => `/root ${name}`));
  });

  test("hosts and the desk have files and processes of their own", async () => {
    await said("plain", "echo here > /tmp/x; echo here > ~/x");
    expect(existsSync(lab.host("plain").path("/root/x"))).toBe(true);
    await expect(said("jump", "cat /tmp/x")).rejects.toThrow("No such file");
    await expect(lab.run("cat", "/root/x")).resolves.toMatchObject({ status: 1 });
    expect(existsSync("/tmp/x")).toBe(false);
    expect(Number(await said("plain", "ls -d /proc/[0-9]* | wc -l"))).toBeLessThan(12);
  });

  test("names of /etc/hosts lead to a host too", async () => {
    expect(await said("root@plain.lab", "hostname")).toBe("plain");
  });

  test("a host behind a jump or a router is reached in no other way, and reaches nobody", async () => {
    const dials = (address: string, port: number) =>
      ["timeout", "0.5", "bash", "-c", `"echo > /dev/tcp/${address}/${port}"`].join(" ");
    const desk = lab.network.address("desk");
    const results = ["inner", "natted"].flatMap((name) => [
      lab.run("sh", "-c", dials(lab.host(name).address, 22)),
      lab.ssh(name, dials(desk, 9)),
    ]);
    expect((await Promise.all(results)).map(({ status }) => status)).toEqual([124, 124, 124, 124]);
  });

  test("full disks, noexec and users without rights are what they say", async () => {
    await expect(said("full", "head -c 100000 /dev/zero > ~/big")).rejects.toThrow("No space");
    await expect(said("full", "head -c 100000 /dev/zero > /var/tmp/big")).rejects.toThrow("No space");
    const tried = (at: string) => `cp /bin/true ${at}/t && ${at}/t`;
    await expect(said("noexec", tried("~"))).rejects.toThrow("Permission denied");
    await expect(said("noexec", tried("/var/tmp"))).resolves.toBe("");
    const nowhere = ["~", "/tmp", "/var/tmp", "/dev/shm"].map((path) => `(${tried(path)})`).join(" || ");
    await expect(said("nowhere", nowhere)).rejects.toThrow(/(.*denied\s){4}/);
    expect(await said("ada", "id -un; id -u; cd; pwd; touch x; touch /root/x 2>&1 | grep -c denied")).toBe(
      "ada\n4711\n/home/ada\n1",
    );
  });

  test("shells and programs are what they say", async () => {
    expect((await lab.ssh("shut", "true")).status).toBe(1);
    await expect(said("bare", "uname -m")).rejects.toThrow("not found");
    expect(await said("bare", "ls / | grep -c usr")).toBe("1");
    expect(await said("noisy", "echo word")).toBe("welcome\nword");
    expect(await said("other", "uname -m")).toBe("riscv64");
  });

  test.skipIf(missingArm64)(
    `a host of arm64 runs its programs${missingArm64 ? ` (skipped: ${missingArm64})` : ""}`,
    async () => {
      const program = "/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1 --version";
      expect(await said("arm", `uname -m; id -u; ${program}`)).toMatch(/^aarch64\n0\nld\.so/);
    },
  );

  test("a crowd before sshd makes it drop logins", async () => {
    {
      using _crowd = await lab.crowd("crowded", 2);
      expect((await lab.ssh("crowded", "true")).stderr).toMatch(/reset|closed/);
    }
    expect(await said("crowded", "echo again")).toBe("again");
  });

  test("what is sent stalls where it was asked to, and comes when that is over", async () => {
    lab.network.stallAfter("jump", 1_000_000);
    const size = () => statSync(lab.host("jump").path("/root/got"), { throwIfNoEntry: false })?.size ?? 0;
    const sent = lab.run("sh", "-c", "head -c 5000000 /dev/zero | ssh jump 'cat > got'");
    await until(() => size() > 100_000, { what: "the first bytes" });
    expect(size()).toBeLessThan(1_500_000);
    lab.network.heal("jump");
    expect((await sent).status).toBe(0);
    expect(size()).toBe(5_000_000);
  });

  test("a key that changed is noticed, one that nobody knows is refused", async () => {
    lab.host("jump").changeKey();
    expect((await lab.ssh("jump", "true")).stderr).toContain("REMOTE HOST IDENTIFICATION HAS CHANGED");
    lab.folder.write({ ".ssh/known_hosts": "" });
    expect((await lab.ssh("plain", "true")).stderr).toContain("Host key verification failed");
    lab.trustAll();
    expect(await said("inner", "hostname")).toBe("inner");
  });

  test("sshd stops and starts, and what runs on the host stays", async () => {
    const host = lab.host("plain");
    host.run("setsid sleep 300 > /dev/null 2>&1 < /dev/null &");
    expect(host.processes.map(({ command }) => command.join(" "))).toEqual(["sleep 300"]);
    host.stopSshd();
    expect((await lab.ssh("plain", "true")).stderr).toContain("refused");
    host.startSshd();
    expect(await said("plain", "echo again")).toBe("again");
    for (const { pid } of host.processes) process.kill(pid);
  });
});
