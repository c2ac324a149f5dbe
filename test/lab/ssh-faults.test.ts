// Everything that can be wrong with a host on the way to its worker, each with a name, a reason and a way out, and none
// in the way of the others.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { QUICK } from "./lab-mesh.ts";
import { WRITABLE } from "./ssh-host-files.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const FULL = Object.fromEntries(WRITABLE.map((path) => [path, 64]));

/** Aliases that lead nowhere, or to a host in a way that it does not take. */
const BAD_ALIASES = `
Host blackhole
  HostName 192.0.2.1
  ConnectTimeout 2
Host refused
  HostName REFUSED
Host stranger
  HostName STRANGER
  User root
  IdentityFile ~/.ssh/other
  IdentitiesOnly yes
Host unknown
  HostName no-such-host.lab
`;

/** What is said of each host that fails, and what it is about. */
const REASONS: Record<string, RegExp> = {
  shut: /shell/i,
  bare: /uname/,
  full: /no place .* MB free/,
  nowhere: /noexec|run/i,
  changed: /key.*chang|chang.*key/i,
  stranger: /key|authenticat|login/i,
  refused: /refused/i,
  blackhole: /answer|time/i,
  unknown: /no-such-host\.lab|not known|unknown|resolve/i,
  unseen: /SHA256:/,
};
/** Hosts that are odd, and get their worker. */
const GOOD = ["good", "noexec", "crowded"];

describe.skipIf(missing)(`hosts that fail over SSH${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let lab: SshLab;

  beforeAll(async () => {
    lab = await SshLab.start({
      hosts: {
        good: { hasBinary: true },
        bare: { without: ["uname"] },
        noexec: { noexec: ["/root"] },
        crowded: { hasBinary: true, sshd: ["MaxStartups 1:90:2"] },
        full: { sizesKib: FULL },
        nowhere: { noexec: WRITABLE },
        shut: { shell: "/bin/false" },
        changed: {},
        unseen: {},
      },
    });
    const names = [...GOOD, ...Object.keys(REASONS)];
    const hosts = names.map((name) => `[hosts.${name}]\nssh = "${name}"\nslots = 1\n`);
    const { address } = lab.host("good");
    const config = await Bun.file(lab.folder.at(".ssh/config")).text();
    const bad = BAD_ALIASES.replace("REFUSED", `${address}\n  Port 2`).replace("STRANGER", address);
    lab.folder.write({ "mesh.toml": `${QUICK}${hosts.join("")}`, ".ssh/config": `${config}\n${bad}` });
    await lab.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/other");
    lab.host("changed").changeKey();
    const known = await Bun.file(lab.folder.at(".ssh/known_hosts")).text();
    lab.folder.write({
      ".ssh/known_hosts": known
        .split("\n")
        .filter((line) => !line.includes("unseen"))
        .join("\n"),
    });
  });
  afterAll(async () => {
    await lab?.mesh(["down", ...GOOD]);
    await lab?.mesh(["kill", "coordinator"]);
    await lab?.[Symbol.asyncDispose]();
  });

  test("F90 X28 up names each host that fails and why, starts all others, and ends with 3", async () => {
    const crowded = lab.host("crowded");
    const crowd = await lab.crowd("crowded", 2);
    await using up = lab.start(["up"]);
    await until(() => /drop connection|MaxStartups/.test(crowded.log), { what: "a login to be dropped" });
    crowd[Symbol.dispose]();
    const { stdout, status } = await up.ended();
    const outcome = (name: string) => stdout.split("\n").findLast((line) => line.startsWith(`${name} `)) ?? "";
    for (const name of GOOD) expect(outcome(name)).toMatch(/started/);
    for (const [name, reason] of Object.entries(REASONS)) {
      expect(outcome(name)).toMatch(/failed/);
      expect(`${name}: ${outcome(name)}`).toMatch(reason);
    }
    expect(status).toBe(3);
    for (const name of ["full", "nowhere", "shut", "bare", "changed", "unseen"]) {
      expect([name, lab.host(name).processes, lab.host(name).files]).toEqual([name, [], []]);
    }
    expect(lab.host("changed").log).not.toContain("Accepted");
  });

  test("X28 changed and unknown keys alone: exit 4", async () => {
    expect((await lab.mesh(["up", "changed"])).status).toBe(4);
    expect((await lab.mesh(["up", "changed", "stranger", "unseen"])).status).toBe(4);
  });

  test("F90 nobody reached: exit 5", async () => {
    expect((await lab.mesh(["up", "refused", "blackhole", "unknown"])).status).toBe(5);
  });

  test.each(["-oProxyCommand=touch /root/pwned", "--version", "-l"])("%s is no host", async (name) => {
    const { status, stderr } = await lab.mesh(["up", "--", name]);
    expect(status).toBe(2);
    expect(stderr).toContain(name);
    lab.folder.write({ "odd/mesh.toml": `[hosts.odd]\nssh = "${name}"\n` });
    const configured = await lab.mesh(["--config", "odd/mesh.toml", "up"]);
    expect(configured.status).not.toBe(0);
    expect((await lab.run("ls", "/root/pwned")).status).toBe(2);
  });
});
