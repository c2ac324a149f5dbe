// Process on several hosts whose agents are played by the test.
import { describe, expect, it } from "vitest";
import { setJobContext } from "../../core/api/context.ts";
import { NodeView } from "../../core/api/node-view.ts";
import { Process } from "../../core/api/process.ts";
import { MeshError } from "../../core/errors.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { FakePool, type FakePoolOptions, HERE, hostInfo, turn } from "./fake-pool.ts";

const here = hostInfo(HERE, "here", 2);
const gpu1 = hostInfo(20, "gpu1", 2, ["gpu"]);
const gpu2 = hostInfo(21, "gpu2", 4, ["gpu"]);

async function poolOf(options: FakePoolOptions): Promise<FakePool> {
  const pool = await new FakePool(options).begin();
  const { node, scheduler } = pool;
  setJobContext({
    node,
    scheduler,
    describeFunction: () => ({ id: "f", locals: [], env: {} }),
    localNames: () => [],
    callDepth: () => 0,
    head: { node: HERE, slot: 0 },
    self: { node: "here", slot: 0, isDriver: true, job: 1 },
    view: new NodeView([]),
    args: [],
  });
  return pool;
}

async function started(pool: FakePool, options: { host?: string; name?: string } = {}): Promise<Process> {
  const process = new Process(() => {}, options);
  const start = process.start();
  await turn(6);
  await start;
  expect(pool.open.length).toBeGreaterThan(0);
  return process;
}

/** What `promise` was rejected with; "pending" when it is not settled yet. */
async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  const failure = promise.then(
    () => "resolved",
    (error: MeshError) => [error.code, error.message],
  );
  await turn(6);
  return await Promise.race([failure, Promise.resolve("pending")]);
}

describe("Process", () => {
  it("F38 runs on the host named, or on the one used least, on a seat nobody else has", async () => {
    const pool = await poolOf({ hosts: [here, gpu1, gpu2] });
    expect((await started(pool, { host: "gpu1" })).host).toBe("gpu1");
    const hosts = [];
    for (let i = 0; i < 7; i++) hosts.push((await started(pool)).host);
    // Of 2, 2 and 4 slots, one taken on gpu1: filled evenly.
    expect(hosts.sort()).toEqual(["gpu1", "gpu2", "gpu2", "gpu2", "gpu2", "here", "here"]);
    const orders = pool.orders.filter(({ type }) => type === MessageType.acquireSlots).map(({ body }) => body);
    expect(orders.every(({ once, job }) => once === true && job === HERE)).toBe(true);
    const seats = orders.flatMap(({ seats }) => seats as number[]);
    expect([new Set(seats).size, Math.min(...seats) > 10_000]).toEqual([8, true]);
  });

  it("F38 is over when its function is and its slot is gone, which is what it asks for", async () => {
    const pool = await poolOf({ hosts: [here, gpu1] });
    const process = await started(pool, { host: "gpu1" });
    const join = process.join();
    const { slot } = pool.open[0]!;
    pool.finishOne(() => "kept there");
    await turn(4);
    expect([process.isAlive, process.exitCode]).toEqual([true, undefined]);
    expect(pool.orders.at(-1)).toEqual({
      host: "gpu1",
      type: MessageType.killSlot,
      body: { job: HERE, slot: slot.info.slot, reason: "its function is over", graceMs: 300, gentle: true },
    });
    pool.die(slot);
    pool.cutLink(slot);
    pool.tellDown(slot, [], { signal: "SIGTERM", final: true });
    expect(await join).toEqual({ exitCode: 0 });
    expect([process.isAlive, process.exitCode]).toEqual([false, 0]);
    await turn(2);
    expect(pool.orders.at(-1)).toMatchObject({ type: MessageType.releaseSlots });
    expect(pool.scheduler.readySlots).toEqual([]);
  });

  it("F38 what it returned counts although its end is told before", async () => {
    const pool = await poolOf({ hosts: [here] });
    const process = await started(pool);
    const { slot } = pool.open[0]!;
    slot.link!.pause();
    pool.finishOne(() => "done");
    await turn(2);
    const { running } = slot;
    pool.die(slot);
    pool.tellDown(slot, running, { exitCode: 0, final: true });
    await turn(2);
    expect(process.exitCode).toBeUndefined();
    pool.cutLink(slot);
    expect(await process.join()).toEqual({ exitCode: 0 });
  });

  it.each([
    [{ exitCode: 3, cause: "exited with code 3" }, 3],
    [{ signal: "SIGSEGV", cause: "was ended by SIGSEGV" }, 139],
    [{ cause: "was killed: its exit status was lost" }, 255],
  ])("F38 a slot that ends with %j is not replaced and gives %d", async (down, exitCode) => {
    const pool = await poolOf({ hosts: [gpu1] });
    const process = await started(pool);
    const { slot } = pool.open[0]!;
    const { running } = slot;
    pool.die(slot);
    pool.tellDown(slot, running, { ...down, final: true });
    expect(await process.join()).toEqual({ ...down, exitCode });
    await turn(3);
    expect(pool.slots).toEqual([]);
    expect(pool.scheduler.runs).toEqual([]);
  });

  it("F38 a lost host ends it with status 255 and that reason; one that is not up yet cannot be started", async () => {
    const pool = await poolOf({ hosts: [here, gpu1] });
    const process = await started(pool, { host: "gpu1" });
    pool.autoStart = false;
    const late = new Process(() => {}, { host: "gpu1", name: "late" });
    const start = late.start();
    await turn(3);
    pool.lose(pool.hostOf("gpu1"));
    const cause = "host gpu1 is lost: it did not answer for 10 s";
    expect(await process.join()).toEqual({ exitCode: 255, cause });
    expect(await failureOf(start)).toEqual(["SLOT_LOST", `process late: ${cause}`]);
    expect(await late.join()).toEqual({ exitCode: 255, cause: `process late: ${cause}` });
  });

  it("F38 start tells why a host cannot be used, why a slot cannot be started, and that there is no host", async () => {
    const openHost = async () => {
      throw new MeshError("CONFIG", "its disk is full");
    };
    const pool = await poolOf({ hosts: [here, gpu1], openHost });
    const refused = new Process(() => {}, { host: "gpu1", name: "one" });
    expect(await failureOf(refused.start())).toEqual([
      "SLOT_LOST",
      "process one: host gpu1 cannot be used: its disk is full",
    ]);
    pool.autoStart = false;
    const unstarted = new Process(() => {}, { host: "here", name: "two" });
    const start = unstarted.start();
    await turn(3);
    const seat = (pool.orders.at(-1)!.body.seats as number[])[0]!;
    const down = { slot: 0, seat, cause: "could not be started: no memory", running: [], final: true };
    pool.agent.notify({ node: HERE, slot: 1 }, MessageType.slotDown, down);
    expect(await failureOf(start)).toEqual(["SLOT_LOST", "no slot can be started: could not be started: no memory"]);
    pool.scheduler.hostsChanged([]);
    expect(await failureOf(new Process(() => {}, { name: "three" }).start())).toEqual([
      "SLOT_LOST",
      "process three: no host is there for it; locateNode(name) waits for one",
    ]);
  });

  it("F38 terminated before it is up it never begins", async () => {
    const pool = await poolOf({ hosts: [here] });
    pool.autoStart = false;
    const process = new Process(() => {}, { name: "early" });
    const start = process.start();
    await turn(3);
    const exit = await process.terminate();
    expect(exit).toEqual({ exitCode: 255, cause: "process early was terminated before it began" });
    expect(await failureOf(start)).toEqual(["CANCELLED", "process early was terminated before it began"]);
    await turn(2);
    expect(pool.orders.at(-1)).toMatchObject({ type: MessageType.releaseSlots });
  });

  it("F38 a host that is not there is refused with the nearest name", async () => {
    await poolOf({ hosts: [here, gpu1] });
    expect(() => new Process(() => {}, { host: "gpu2" })).toThrow(
      "new Process: there is no host gpu2; did you mean gpu1? hosts of this mesh: gpu1, here",
    );
  });
});
