// A way that breaks in the middle of `mesh up`, by the user or by the network: nothing half-done stays, or is ever run.
import { readFileSync, statSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { QUICK } from "./lab-mesh.ts";
import type { SshHost } from "./ssh-host.ts";
import { binaryHash } from "./ssh-host-files.ts";
import { missingForSshLab, SshLab } from "./ssh-hosts.ts";

const missing = missingForSshLab();
const HALF = 20_000_000;

describe.skipIf(missing)(`mesh up that is interrupted${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let lab: SshLab;
  let host: SshHost;

  beforeAll(async () => {
    lab = await SshLab.start({
      hosts: { h1: {}, ready: { hasBinary: true } },
      files: { "mesh.toml": `${QUICK}[hosts.h1]\nssh = "h1"\nslots = 1\n[hosts.ready]\nssh = "ready"\nslots = 1\n` },
    });
    host = lab.host("h1");
  });
  afterAll(async () => {
    await lab?.mesh(["down", "--purge"]);
    await lab?.[Symbol.asyncDispose]();
  });

  /** Waits until about half of the binary is on the host, and no more comes. */
  async function half(): Promise<void> {
    const size = () =>
      Math.max(0, ...host.files.map((path) => statSync(host.path(path), { throwIfNoEntry: false })?.size ?? 0));
    await until(() => size() > HALF / 2, { what: "half of the binary", timeoutMs: 30_000 });
  }

  async function nothingOnHost(): Promise<void> {
    const left = () => [...host.processes.map(({ command }) => command.join(" ")), ...host.files];
    await until(() => left().length === 0, { what: "nothing to be left on the host" }).catch((cause: unknown) => {
      throw new Error(`left: ${left().join(", ")}`, { cause });
    });
  }

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("X26 %s in the middle of the upload: nothing half-started", async (signal, expected) => {
    lab.network.stallAfter("h1", HALF);
    await using up = lab.start(["up", "h1"]);
    await half();
    up.signal(signal);
    lab.network.heal("h1");
    expect((await up.ended()).status).toBe(expected);
    await nothingOnHost();
    await lab.nothingRuns(); // the coordinator that was started for it is ended, too
  });

  test("X29 mesh up killed in the middle of the upload: what came is never run, and the next up is as good as new", async () => {
    lab.network.stallAfter("h1", HALF);
    await using up = lab.start(["up", "h1"]);
    await half();
    up.signal("SIGKILL");
    lab.network.heal("h1");
    await up.ended();
    await nothingOnHost();
    await lab.succeed(["up", "h1"]);
    await lab.succeed(["down", "h1", "--purge"]);
  });

  test("X29 the login breaks in the middle of the upload: it is tried again or said, and nothing half stays", async () => {
    lab.network.stallAfter("h1", HALF);
    await using up = lab.start(["up", "h1"]);
    await half();
    host.dropLogins();
    lab.network.heal("h1");
    const { status } = await up.ended();
    expect([0, 5]).toContain(status);
    if (status === 0) await lab.succeed(["down", "h1", "--purge"]);
    await nothingOnHost();
  });

  test("X29 a binary that was altered on the host is not run, but sent again", async () => {
    const file = `/root/.cache/mesh/bin/${binaryHash()}/mesh`;
    lab.host("ready").run(`dd if=/dev/zero of=${file} conv=notrunc bs=1 count=64 seek=5000000 2>&1`);
    expect((await lab.succeed(["up", "ready"])).stdout).toMatch(/^ready +started +[1-9]/m);
    expect(new Bun.CryptoHasher("sha256").update(readFileSync(lab.host("ready").path(file))).digest("hex")).toBe(
      binaryHash(),
    );
  });

  test("X30 a binary replaced while it runs: the old one runs on, the next start is of the new one", async () => {
    await lab.succeed(["up", "ready"]);
    const [worker] = lab.host("ready").processes;
    lab.host("ready").run("f=$(ls /root/.cache/mesh/bin/*/mesh); cp $f $f.new; echo >> $f.new; mv $f.new $f");
    await lab.succeed(["status"]);
    expect(lab.host("ready").processes.map(({ pid }) => pid)).toContain(worker?.pid);
    const { stdout } = await lab.succeed(["up", "ready"]);
    expect(stdout).toMatch(/ready.*(unchanged|replaced)/);
    await lab.succeed(["down", "ready"]);
  });
});
