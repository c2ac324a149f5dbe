// F81 References between processes joined by memory links, which share a folder as the slots of a host do.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { Ref } from "../../core/api/put-ref.ts";
import { settled } from "../node/support.ts";
import { until } from "../support/until.ts";
import { PipeMesh, type Process, travelled } from "./pipe-support.ts";

const folders: string[] = [];

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "mesh-put-"));
  folders.push(folder);
  return folder;
}

function put<T>(owner: Process, value: T): Ref<T> {
  return new Ref<T>(owner.puts, owner.puts.put(value));
}

async function outcome(promise: Promise<unknown>): Promise<[string, string]> {
  return promise.then(
    (): [string, string] => ["kept", ""],
    (error): [string, string] => [error.code, error.message],
  );
}

/** An owner on one host, and processes of another. */
async function hosts(
  readers = 1,
  folder = newFolder(),
): Promise<{ mesh: PipeMesh; owner: Process; others: Process[]; folder: string }> {
  const mesh = new PipeMesh(folder);
  const owner = await mesh.start();
  const others: Process[] = [];
  for (let i = 0; i < readers; i++) others.push(await mesh.start());
  return { mesh, owner, others, folder };
}

describe("put", () => {
  it.each([
    ["a small object", { a: [1, "é", null], at: new Date(5) }],
    ["undefined", undefined],
    ["12 MB", new Uint8Array(12_000_000).fill(5)],
    ["3 MB of doubles", new Float64Array(400_000).fill(0.5)],
  ])("F81 %s: the value is the same elsewhere", async (_, value) => {
    const { owner, others } = await hosts();
    const ref = put(owner, value);
    const [there, here] = [await travelled(ref, owner, others[0]!).get(), await ref.get()];
    expect([isDeepStrictEqual(there, value), isDeepStrictEqual(here, value)]).toEqual([true, true]);
  });

  it("F81 is fetched once for a host, by however many at once and however often, and decoded once in each process", async () => {
    const { mesh, owner, others, folder } = await hosts(4);
    const ref = put(owner, { list: new Uint8Array(9_000_000).fill(1) });
    const refs = others.map((other) => travelled(ref, owner, other));
    const values: { list: Uint8Array }[] = [];
    for (const each of [...refs, ...refs]) void each.get().then((value) => values.push(value));
    const come = () => {
      mesh.clock.advance(1); // those who wait for the file look again
      return values.length === 8;
    };
    await until(come, { what: "the values" });
    expect(new Set(values).size).toBe(4);
    expect(values.includes(await travelled(ref, owner, others[1]!).get())).toBe(true);
    expect(values.every(({ list }) => list.length === 9_000_000 && list[8_999_999] === 1)).toBe(true);
    expect(ref.sentBytes).toBe(ref.sizeBytes);
    const [file, ...rest] = readdirSync(folder);
    expect(rest).toEqual([]);
    expect(statSync(join(folder, file!))).toMatchObject({ size: ref.sizeBytes, mode: 0o100600 });
  });

  it("F81 keeps the value as it was", async () => {
    const { owner, others } = await hosts();
    const list = [1];
    const ref = put(owner, list);
    list.push(2);
    expect([await ref.get(), await travelled(ref, owner, others[0]!).get()]).toEqual([[1], [1]]);
  });

  it("F81 what cannot travel is refused at once, with its path", async () => {
    const { owner } = await hosts();
    const words = "put: the value.a[0].p: a Promise cannot travel: await it first";
    expect(() => put(owner, { a: [{ p: Promise.resolve() }] })).toThrow(words);
  });

  it("F81 a reference travels on, nested too, and its message stays small", async () => {
    const { owner, others } = await hosts(2);
    const ref = put(owner, new Uint8Array(5_000_000));
    const there = travelled({ refs: [ref] }, owner, others[0]!);
    expect(others[0]!.node.codec.encode(there).length).toBeLessThan(60);
    const further = travelled(there, others[0]!, others[1]!);
    expect((await further.refs[0]!.get()).length).toBe(5_000_000);
    expect(there.refs[0]!.sizeBytes).toBe(ref.sizeBytes);
  });

  it("F81 release forgets it everywhere: later calls are told so, files go", async () => {
    const { owner, others, folder } = await hosts(2);
    const ref = put(owner, [1]);
    const refs = others.map((other) => travelled(ref, owner, other));
    for (const each of refs) await each.get();
    {
      using released = ref;
      released.release();
    }
    await settled();
    const words = "ref.get: the value was released by here/1, which put it: release it when nobody uses it any more";
    for (const each of [ref, ...refs]) expect(await outcome(each.get())).toEqual(["CLOSED", words]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("F81 release elsewhere forgets what that process decoded, and nothing more", async () => {
    const { owner, others } = await hosts();
    const ref = put(owner, [1]);
    const there = travelled(ref, owner, others[0]!);
    const first = await there.get();
    there.release();
    const second = await there.get();
    expect(second).toEqual(first);
    expect(second).not.toBe(first);
    expect(ref.sentBytes).toBe(ref.sizeBytes);
  });

  it("F81 gives up in time or by its signal; the value can be had later", async () => {
    const { mesh, owner, others, folder } = await hosts();
    const ref = put(owner, [1]);
    const there = travelled(ref, owner, others[0]!);
    writeFileSync(join(folder, "put-2-1-1.lock"), String(process.pid)); // somebody fetches, and takes long
    const late = outcome(there.get({ timeoutMs: 30 }));
    const controller = new AbortController();
    const cancelled = outcome(there.get({ signal: controller.signal }));
    await settled();
    mesh.clock.advance(30);
    controller.abort();
    expect(await late).toEqual(["TIMEOUT", "ref.get: nothing within 30 ms"]);
    expect(await cancelled).toEqual(["CANCELLED", "ref.get was cancelled by its signal"]);
    expect((await outcome(there.get({ timeoutMs: -1 })))[0]).toBe("USAGE");
    rmSync(join(folder, "put-2-1-1.lock"));
    const value = there.get();
    await settled();
    mesh.clock.advance(10);
    expect(await value).toEqual([1]);
  });

  it("F81 an owner that is gone: LINK_CLOSED names it, unless the host has the value already", async () => {
    const { mesh, owner, others } = await hosts(2);
    const [known, unknown] = [put(owner, [1]), put(owner, [2])];
    await travelled(known, owner, others[0]!).get();
    const refs = [known, unknown].map((ref) => travelled(ref, owner, others[1]!));
    mesh.kill(owner);
    await settled();
    expect(await refs[0]!.get()).toEqual([1]);
    const words = "ref.get: the process that put the value, here/1, is gone, and the value with it";
    expect(await outcome(refs[1]!.get())).toEqual(["LINK_CLOSED", words]);
    expect(await outcome(refs[1]!.get())).toEqual(["LINK_CLOSED", words]);
  });
});

describe("the file of a host", () => {
  const waiting = async (withLock: (path: string) => void) => {
    const all = await hosts();
    const ref = put(all.owner, new Uint8Array(100));
    withLock(join(all.folder, "put-2-1-1.lock"));
    const value = travelled(ref, all.owner, all.others[0]!).get();
    await settled();
    return { ...all, ref, value };
  };

  it("F81 a fetcher that died is replaced by the next one", async () => {
    const dead = Bun.spawnSync(["true"]).pid;
    const { mesh, folder, value } = await waiting((lock) => writeFileSync(lock, String(dead)));
    mesh.clock.advance(10);
    expect((await value).length).toBe(100);
    expect(readdirSync(folder)).toEqual(["put-2-1-1"]);
  });

  it("F81 a fetcher that does not get on is not waited for longer than 5 s; nobody else's file is touched", async () => {
    const { mesh, folder, value } = await waiting((lock) => writeFileSync(lock, String(process.pid)));
    let done = false;
    void value.then(() => {
      done = true;
    });
    for (let passed = 0; passed < 5_000; passed += 10) {
      mesh.clock.advance(10);
      await settled(1);
    }
    expect(done).toBe(false);
    await until(
      () => {
        mesh.clock.advance(10);
        return done;
      },
      { what: "the value" },
    );
    expect((await value).length).toBe(100);
    expect(readdirSync(folder)).toEqual(["put-2-1-1.lock"]);
  });

  const full = newFolder();
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", full], { encoding: "utf8" });
  const canMount = mounted.status === 0;
  if (!canMount) console.log(`skipped: no tmpfs can be mounted here: ${mounted.stderr ?? mounted.error?.message}`);
  afterAll(() => void (canMount && spawnSync("umount", ["-l", full])));

  it.skipIf(!canMount)(
    "F81 X13 a disk without room for it: each process fetches for itself, nothing is left",
    async () => {
      const { owner, others } = await hosts(2, full);
      const ref = put(owner, new Uint8Array(20_000_000).fill(3));
      for (const other of others) {
        const bytes = await travelled(ref, owner, other).get();
        expect([bytes.length, bytes[19_999_999]]).toEqual([20_000_000, 3]);
      }
      expect(ref.sentBytes).toBeGreaterThanOrEqual(2 * ref.sizeBytes);
      expect(readdirSync(full)).toEqual([]);
    },
  );

  it("F81 X13 a folder that is gone: each process fetches for itself", async () => {
    const { owner, others, folder } = await hosts(2);
    rmSync(folder, { recursive: true });
    const ref = put(owner, [1, 2]);
    for (const other of others) expect(await travelled(ref, owner, other).get()).toEqual([1, 2]);
    expect(ref.sentBytes).toBe(2 * ref.sizeBytes);
    expect(existsSync(folder)).toBe(false);
  });
});
