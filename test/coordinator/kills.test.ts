import { describe, expect, it } from "vitest";
import { MessageType } from "../../core/wire/message-types.ts";
import { rejection, settled, TestCoordinator, type TestNode, tempFolder } from "./support.ts";

/** Whether a promise is settled, without waiting for it. */
function watch(promise: Promise<unknown>): { isSettled: boolean } {
  const watched = { isSettled: false };
  const settle = () => {
    watched.isSettled = true;
  };
  promise.then(settle, settle);
  return watched;
}

const TERM = { signal: "SIGTERM", now: false };
const NOW = { signal: "SIGTERM", now: true };

describe("Coordinator: killJob", () => {
  async function start(folder: string, more = {}) {
    const mesh = new TestCoordinator({ folder, ...more });
    const [head, user] = [await mesh.join("run-1", "head"), await mesh.join("ann", "client")];
    await head.begin();
    return { mesh, head, user };
  }

  it("F78: asks the script first, forces after the grace, and answers when it is over", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await start(folder.path);
    const killed = user.ask(MessageType.killJob, { job: 1, graceMs: 2_000 });
    const watched = watch(killed);
    await settled();
    expect(head.of(MessageType.stopJob)).toEqual([TERM]);
    mesh.clock.advance(1_999);
    await settled();
    expect(head.of(MessageType.stopJob)).toEqual([TERM]);
    mesh.clock.advance(1);
    await settled();
    expect(head.of(MessageType.stopJob)).toEqual([TERM, NOW]);
    expect(watched.isSettled).toBe(false);
    await head.ask(MessageType.endJob, { exitCode: 137 });
    const ended = { job: 1, name: "primes", state: "killed", exitCode: 137, cause: null };
    expect(await killed).toEqual({ jobs: [ended] });
    // Again, of a job that is over: how it ended.
    expect(await user.ask(MessageType.killJob, { job: "primes" })).toEqual({ jobs: [ended] });
    await mesh.coordinator.close();
  });

  it("F78: a job that ends well by itself meanwhile is done, and no force follows", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await start(folder.path);
    const killed = user.ask(MessageType.killJob, { job: 1 });
    await settled();
    await head.ask(MessageType.endJob, { exitCode: 0 });
    expect(await killed).toMatchObject({ jobs: [{ state: "done" }] });
    mesh.clock.advance(60_000);
    await settled();
    expect(head.of(MessageType.stopJob)).toEqual([TERM]);
    await mesh.coordinator.close();
  });

  it("F78: the end of its head's session is the end of the job", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await start(folder.path);
    const killed = user.ask(MessageType.killJob, { job: 1 });
    await settled();
    head.crash();
    expect(await killed).toMatchObject({ jobs: [{ state: "killed", cause: "it was killed" }] });
    await mesh.coordinator.close();
  });

  it("F78: what does not end is named after the limit, and can be killed again", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await start(folder.path);
    const killed = rejection(user.ask(MessageType.killJob, { job: 1, graceMs: 0 }));
    await settled();
    mesh.clock.advance(10_000);
    expect(await killed).toMatchObject({
      code: "TIMEOUT",
      message: "job 1 (primes) has not ended: its head, run-1, still answers, 10 s after it was asked to",
    });
    const again = user.ask(MessageType.killJob, { job: 1 });
    await settled();
    await head.ask(MessageType.endJob, { exitCode: 1 });
    expect(await again).toMatchObject({ jobs: [{ state: "killed" }] });
    await mesh.coordinator.close();
  });

  it("F78: a job whose head is away when it is killed is ended as soon as the head is back", async () => {
    using folder = tempFolder();
    const { mesh, head } = await start(folder.path);
    await mesh.coordinator.close();
    await using after = new TestCoordinator({ folder: folder.path }, mesh.clock, 17);
    const user = await after.join("bob", "client");
    const killed = user.ask(MessageType.killJob, { job: 1 });
    await settled();
    after.connect(head);
    await head.begin({ job: 1 });
    await settled();
    expect(head.of(MessageType.stopJob)).toEqual([NOW]);
    await head.ask(MessageType.endJob, { exitCode: 137 });
    expect(await killed).toMatchObject({ jobs: [{ state: "killed" }] });
  });

  it("F78: a job in its lease ends with it; killed then, nobody waits longer than that", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await start(folder.path, { leaseMs: 8_000 });
    head.crash();
    await settled();
    const killed = user.ask(MessageType.killJob, { job: 1 });
    await settled();
    mesh.clock.advance(8_000);
    expect(await killed).toMatchObject({ jobs: [{ state: "lost", cause: expect.stringContaining("it crashed") }] });
    await mesh.coordinator.close();
  });

  it("F78: all jobs; one that does not end does not keep the others", async () => {
    using folder = tempFolder();
    const { mesh, head, user } = await start(folder.path);
    const stubborn = await mesh.join("run-2", "head");
    await stubborn.begin();
    const killed = rejection(user.ask(MessageType.killJob, { all: true, graceMs: 100 }));
    await settled();
    expect([head, stubborn].map((each) => each.of(MessageType.stopJob))).toEqual([[TERM], [TERM]]);
    await head.ask(MessageType.endJob, { exitCode: 137 });
    mesh.clock.advance(10_100);
    expect((await killed).message).toMatch(/^job 2 \(primes\) has not ended/);
    expect(mesh.coordinator.status.jobs.map(({ job }) => job)).toEqual([2]);
    await mesh.coordinator.close();
  });
});

describe("Coordinator: killNode", () => {
  const ask = (user: TestNode, body: object) => user.ask(MessageType.killNode, body);

  it("F78: asks the node to end and answers when its session has ended", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [worker, user] = [await mesh.join("gpu1"), await mesh.join("ann", "client")];
    const killed = ask(user, { name: "gpu1", graceMs: 3_000 });
    const watched = watch(killed);
    await settled();
    expect([worker.of(MessageType.shutdown), watched.isSettled]).toEqual([[{ graceMs: 3_000 }], false]);
    worker.leave();
    expect(await killed).toEqual({ nodes: ["gpu1"] });
    expect(mesh.names).toEqual(["coordinator"]);
  });

  it("F90: a node that is lost meanwhile is not said to have ended", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [worker, user] = [await mesh.join("gpu1"), await mesh.join("ann", "client")];
    const killed = rejection(ask(user, { name: "gpu1", graceMs: 3_000 }));
    await settled();
    worker.crash();
    expect(await killed).toMatchObject({
      code: "UNREACHABLE",
      message: expect.stringContaining("gpu1 was asked to end"),
    });
  });

  it("F96: all of a name: the node that has it, and those that retire under it", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [old, user] = [await mesh.join("gpu1"), await mesh.join("ann", "client")];
    await old.register({ retiring: true });
    const successor = await mesh.join("gpu1");
    const states = () => mesh.coordinator.status.nodes.map(({ node, name, state }) => [node, name, state]);
    expect(states()).toEqual([
      [16, "coordinator", "up"],
      [successor.id, "gpu1", "up"],
      [old.id, "gpu1", "retiring"],
    ]);
    const killed = ask(user, { name: "gpu1" });
    await settled();
    expect([old, successor].map((node) => node.of(MessageType.shutdown).length)).toEqual([1, 1]);
    old.leave();
    successor.leave();
    expect(await killed).toEqual({ nodes: ["gpu1"] });
    expect(mesh.names).toEqual(["coordinator"]);
  });

  it("F78: all nodes but who asks and the coordinator; those that stay are named", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [a, b, head] = [await mesh.join("a"), await mesh.join("b"), await mesh.join("run-1", "head")];
    const killed = rejection(ask(head, { all: true, graceMs: 0 }));
    await settled();
    expect([a, b, head].map((node) => node.of(MessageType.shutdown).length)).toEqual([1, 1, 0]);
    a.leave();
    await settled();
    mesh.clock.advance(10_000);
    expect(await killed).toMatchObject({
      code: "TIMEOUT",
      message: "b has not ended: its session is still there, 10 s after it was asked to",
    });
  });

  it("F78: a head ends with its job: the script is asked first", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [head, user] = [await mesh.join("run-1", "head"), await mesh.join("ann", "client")];
    await head.begin();
    const killed = ask(user, { name: "run-1", graceMs: 100 });
    await settled();
    expect([head.of(MessageType.stopJob), head.of(MessageType.shutdown)]).toEqual([[TERM], []]);
    mesh.clock.advance(100);
    await settled();
    expect(head.of(MessageType.stopJob)).toEqual([TERM, NOW]);
    await head.ask(MessageType.endJob, { exitCode: 137 });
    await settled();
    expect(head.of(MessageType.shutdown)).toHaveLength(1);
    head.leave();
    expect(await killed).toEqual({ nodes: ["run-1"] });
  });

  it("unknown: the nearest name; one that is down already: nothing to do", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [worker, user] = [await mesh.join("gpu1"), await mesh.join("ann", "client")];
    expect(await rejection(ask(user, { name: "gpu2" }))).toMatchObject({
      code: "USAGE",
      message: 'there is no node "gpu2"; did you mean "gpu1"?',
    });
    worker.crash();
    await settled();
    expect(await ask(user, { name: "gpu1" })).toEqual({ nodes: [] });
  });

  it("F78: the coordinator itself, by its name: answers, then stops", async () => {
    using folder = tempFolder();
    let stopped = 0;
    await using mesh = new TestCoordinator({ folder: folder.path, stop: () => void stopped++ });
    const user = await mesh.join("ann", "client");
    expect(await ask(user, { name: "coordinator" })).toEqual({ nodes: ["coordinator"] });
    expect(stopped).toBe(0);
    mesh.clock.advance(0);
    expect(stopped).toBe(1);
  });
});
