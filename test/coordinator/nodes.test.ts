import { describe, expect, it } from "vitest";
import type { PathInfo, Status } from "../../core/coordinator/answers.ts";
import { FLAG_REQUEST } from "../../core/wire/message.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { memoryPair } from "../../transports/memory/memory-transport.ts";
import { frameOf, RawEnd } from "../node/support.ts";
import { beginBody, rejection, report, START, settled, TestCoordinator, TestNode, tempFolder } from "./support.ts";

describe("Coordinator: membership", () => {
  it("F15: who registers gets the whole view, all others the change alone", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const a = await mesh.join("a");
    const b = await mesh.join("b");
    mesh.clock.advance(50);
    await settled();
    expect(b.updates.map(({ full, nodes }) => [full, nodes.map(({ name }) => name)])).toEqual([
      [true, ["coordinator", "a", "b"]],
    ]);
    expect(a.updates.map(({ full, nodes }) => [full, nodes.map(({ name }) => name)])).toEqual([
      [true, ["coordinator", "a"]],
      [undefined, ["b"]],
    ]);
    expect([a.names, b.names]).toEqual([
      ["a", "b", "coordinator"],
      ["a", "b", "coordinator"],
    ]);
  });

  it("F15: changes within 50 ms go out as one, encoded once", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const first = await mesh.join("first");
    mesh.clock.advance(50);
    await settled();
    const before = first.updates.length;
    const encode = mesh.node.codec.encode.bind(mesh.node.codec);
    let encoded = 0;
    mesh.node.codec.encode = (value, what) => {
      if (typeof value === "object" && value !== null && "gone" in value) encoded++;
      return encode(value, what);
    };
    await Promise.all(Array.from({ length: 30 }, (_, i) => mesh.join(`n${i}`)));
    mesh.clock.advance(50);
    await settled();
    expect(first.names).toHaveLength(32);
    // One at once, one for the 29 that came within 50 ms; a whole view beside each.
    expect(first.updates.slice(before).map(({ nodes }) => nodes.length)).toEqual([1, 29]);
    expect(encoded).toBe(4);
  });

  it("F12, F15: a node that goes is taken from everybody's view; with an error status shows it as down", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const watcher = await mesh.join("watcher");
    const [gone, lost] = [await mesh.join("gone"), await mesh.join("lost")];
    gone.leave();
    lost.crash();
    await settled();
    mesh.clock.advance(50);
    await settled();
    expect(watcher.names).toEqual(["coordinator", "watcher"]);
    expect(mesh.names).toEqual(["coordinator", "lost down", "watcher"]);
    await mesh.join("lost");
    expect(mesh.names).toEqual(["coordinator", "lost", "watcher"]);
  });

  it("F14: two live workers of one name: the second hears which one has it; so does one with the coordinator's name", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    await mesh.join("gpu1");
    const second = new TestNode("gpu1", "worker");
    mesh.connect(second);
    expect(await rejection(second.register())).toMatchObject({
      code: "USAGE",
      message: expect.stringMatching(/the name gpu1 is taken: a worker of that name runs on gpu1\.lan/),
    });
    const impostor = new TestNode("coordinator", "worker");
    mesh.connect(impostor);
    expect((await rejection(impostor.register())).message).toContain("the name coordinator is taken");
    expect(mesh.names).toEqual(["coordinator", "gpu1"]);
    expect([mesh.coordinator.isNameTaken("gpu1"), mesh.coordinator.isNameTaken("gpu2")]).toEqual([true, false]);
  });

  it("F14: one between two links loses its name to the next; when it is back it is asked to register, and refused", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const old = await mesh.join("gpu1");
    mesh.coordinator.peerState(old.id, "suspect");
    const early = new TestNode("gpu1", "worker");
    mesh.connect(early);
    expect((await rejection(early.register())).code).toBe("USAGE");
    mesh.coordinator.peerState(old.id, "detached");
    await early.register();
    expect(mesh.coordinator.status.nodes.map(({ node }) => node)).toEqual([16, early.id]);
    mesh.coordinator.peerState(old.id, "up");
    old.tell(MessageType.report, report);
    await settled();
    expect(old.of(MessageType.register)).toEqual([{}]);
    expect((await rejection(old.register())).message).toContain("the name gpu1 is taken");
  });

  it("a node that missed a change asks, and gets everything", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const a = await mesh.join("a");
    // What it takes for a gap: a change of a version far ahead.
    mesh.node.notify({ node: a.id, slot: 0 }, MessageType.membership, { version: 99, nodes: [], gone: [], states: [] });
    await settled();
    mesh.clock.advance(50);
    await settled();
    expect(a.updates.map(({ full, version }) => [full, version])).toEqual([
      [true, 1],
      [undefined, 99],
      [true, 1],
    ]);
  });

  it("a node whose way is full gets nothing more laid on it, and the whole view when it is free", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const slow = await mesh.join("slow");
    slow.link.pause();
    mesh.node.send({ node: slow.id, slot: 0 }, MessageType.revoked, 0, 0, new Uint8Array(3 * 2 ** 20)); // fills the way
    for (let i = 0; i < 20; i++) {
      await mesh.join(`n${i}`);
      mesh.clock.advance(50);
    }
    slow.link.resume();
    await settled();
    mesh.clock.advance(50);
    await settled();
    expect(slow.updates.length).toBeLessThanOrEqual(3);
    expect(slow.updates.at(-1)).toMatchObject({ full: true });
    expect(slow.names).toHaveLength(22);
  });

  it("suspect: shown, told to all as a state alone, and over when it is over", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [a, b] = [await mesh.join("a"), await mesh.join("b")];
    mesh.clock.advance(50);
    mesh.coordinator.peerState(b.id, "suspect");
    mesh.clock.advance(50);
    await settled();
    expect(mesh.names).toEqual(["coordinator", "a", "b suspect"]);
    expect(a.updates.at(-1)).toMatchObject({ nodes: [], states: [[b.id, "suspect"]] });
    expect(a.view.byName("b")?.state).toBe("suspect");
    mesh.coordinator.peerState(b.id, "up");
    mesh.clock.advance(50);
    await settled();
    expect(a.view.byName("b")?.state).toBe("up");
  });
});

describe("Coordinator: status", () => {
  it("F93 is of the issue's shape, with what nodes report; what was not measured is null", async () => {
    using folder = tempFolder();
    const path: PathInfo = { kind: "tcp", address: "tcp://gpu1:1", rttMs: 0.2, sinceMs: 5_000, why: null };
    const pathTo = (node: number) => (node === worker?.id ? path : undefined);
    let worker: TestNode | undefined;
    await using mesh = new TestCoordinator({ folder: folder.path, pathTo });
    mesh.coordinator.listening(["tcp://desk:7450"]);
    worker = await mesh.join("gpu1", "worker", { slots: 8, tags: ["gpu"] });
    const head = await mesh.join("run-1", "head");
    const user = await mesh.join("ann", "client");
    worker.tell(MessageType.report, {
      ...report,
      peers: [
        { node: head.id, state: "up", path: "relay", address: "relay://desk:9", sinceMs: 700, why: "UDP is blocked" },
      ],
    });
    head.tell(MessageType.report, { ...report, peers: [{ node: 16, state: "up", path: "tcp" }] });
    await head.begin();
    head.tell(MessageType.jobProgress, {
      progress: { label: "map", done: 5, total: 10, running: 4, ratePerS: 2.5 },
      nodes: ["gpu1"],
    });
    await settled();
    const status = await user.ask<Status>(MessageType.status, {});
    expect(status).toMatchObject({
      mesh: {
        name: "lab",
        id: "0123456789abcdef",
        coordinator: { name: "coordinator", node: 16, addresses: ["tcp://desk:7450"], since: START, version: "1.2.3" },
      },
      nodes: [
        { name: "coordinator", host: "desk", role: "coordinator", slots: 0, path: { kind: "self", rttMs: null } },
        {
          ...{ name: "gpu1", host: "gpu1.lan", role: "worker", slots: 8, used: 3, load: 0.5, tags: ["gpu"] },
          ...{ memory: { usedBytes: 1e9, totalBytes: 8e9 }, state: "up", since: START, version: "1.2.3" },
          path,
          peers: [
            {
              ...{ node: head.id, name: "run-1", state: "up", path: "relay", address: "relay://desk:9" },
              ...{ rttMs: null, sinceMs: 700, why: "UDP is blocked" },
            },
          ],
        },
        { name: "run-1", role: "head", path: { kind: "tcp", address: null, rttMs: null, sinceMs: null, why: null } },
      ],
      jobs: [
        {
          ...{ job: 1, name: "primes", user: "ann", state: "running", head: { node: head.id, name: "run-1" } },
          ...{ progress: { done: 5, total: 10, ratePerS: 2.5 }, nodes: ["gpu1"], exitCode: null, endedAt: null },
        },
      ],
    });
    expect(JSON.parse(JSON.stringify(status))).toEqual(status);
  });

  it("F24 what each rendezvous did, pairs by name: of the coordinator's own, of others, and of nobody that is none", async () => {
    using folder = tempFolder();
    const done = { introduced: 2, relays: 1, bytes: 9, packets: 3, dropped: 1, overQuota: 1, refused: 0 };
    const rendezvous = () => ({ ...done, pairs: [] });
    await using mesh = new TestCoordinator({ folder: folder.path, rendezvous });
    const [meet, liar] = [await mesh.join("meet", "rendezvous"), await mesh.join("gpu1")];
    const pairs = [{ nodes: [liar.id, 99] as [number, number], bytes: 7 }];
    for (const node of [meet, liar]) {
      node.tell(MessageType.report, { ...report, peers: [], rendezvous: { ...done, pairs } });
    }
    await settled();
    expect(mesh.coordinator.status.nodes.map((node) => [node.name, node.rendezvous])).toEqual([
      ["coordinator", { ...done, pairs: [] }],
      ["gpu1", null],
      ["meet", { ...done, pairs: [{ between: ["gpu1", "node 99"], bytes: 7 }] }],
    ]);
    meet.tell(MessageType.report, { ...report, peers: [], rendezvous: { ...done, introduced: -1, pairs } });
    meet.tell(MessageType.report, { ...report, peers: [], rendezvous: { ...done, pairs: Array(65).fill(pairs[0]) } });
    await settled();
    expect(mesh.problems).toHaveLength(2);
  });

  it("what is not known is null", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    await mesh.join("gpu1");
    expect(mesh.coordinator.status.nodes[1]).toMatchObject({
      used: 0,
      load: null,
      memory: null,
      path: null,
      peers: [],
    });
  });
});

describe("Coordinator: explainPath (F98)", () => {
  const answer = { nat: null, rendezvous: ["coordinator"] };

  it("asks the node that is named, itself where none is; what is not in the mesh is UNREACHABLE", async () => {
    using folder = tempFolder();
    const asked: unknown[] = [];
    const explainPath = async (body: unknown) => {
      asked.push(body);
      return answer;
    };
    await using mesh = new TestCoordinator({ folder: folder.path, explainPath });
    const [a, b] = [await mesh.join("a"), await mesh.join("b")];
    const user = await mesh.join("ann", "client");
    a.node.handleRequest(MessageType.explainPath, (body) => ({ ...answer, rendezvous: ["vps"], asked: body }));
    const ask = (body: unknown) => user.ask(MessageType.explainPath, body);
    expect(await ask({ from: a.id, node: b.id })).toEqual({ ...answer, rendezvous: ["vps"] });
    expect(await ask({ node: b.id })).toEqual(answer);
    expect(await ask({ from: 16 })).toEqual(answer);
    expect(asked).toEqual([{ node: b.id }, {}]);
    for (const body of [{ from: 99 }, { from: a.id, node: 99 }]) {
      expect(await rejection(ask(body))).toMatchObject({
        code: "UNREACHABLE",
        message: expect.stringContaining("node 99 is not in the mesh"),
      });
    }
  });

  it.each([
    ["not what was asked for", { nat: "all" }],
    ["too much", { ...answer, rendezvous: Array.from({ length: 17 }, (_, i) => `r${i}`) }],
    ["names that are none", { ...answer, rendezvous: ["\u001b[2J"] }],
  ])("a node that answers %s is not believed", async (_, lie) => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [a, user] = [await mesh.join("a"), await mesh.join("ann", "client")];
    a.node.handleRequest(MessageType.explainPath, () => lie);
    const refused = await rejection(user.ask(MessageType.explainPath, { from: a.id }));
    expect(refused).toMatchObject({ code: "PROTOCOL", message: expect.stringContaining("the answer to explainPath") });
  });

  it("workers may not ask it", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const worker = await mesh.join("a");
    expect(await rejection(worker.ask(MessageType.explainPath, {}))).toMatchObject({ code: "AUTHENTICATION" });
  });
});

describe("Coordinator: introductions", () => {
  it("F11: the other hears who wants to meet it and where that one listens; who asked hears where the other does", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [a, b] = [await mesh.join("a"), await mesh.join("b")];
    const ask = (node: unknown) => a.ask(MessageType.introduce, { node, addresses: ["tcp://10.0.0.1:5"] });
    const answer = { node: b.id, name: "b", role: "worker", addresses: ["tcp://b:7450"] };
    expect([await ask("b"), await ask(b.id)]).toEqual([answer, answer]);
    await settled();
    const introduction = { node: a.id, name: "a", role: "worker", addresses: ["tcp://10.0.0.1:5"] };
    expect(b.of(MessageType.introduce)).toEqual([introduction, introduction]);
    expect(await rejection(ask("bb"))).toMatchObject({
      code: "USAGE",
      message: 'there is no node "bb"; did you mean "b"?',
    });
    expect(await rejection(ask(77))).toMatchObject({ code: "UNREACHABLE" });
  });
});

describe("Coordinator: who asks, and what", () => {
  it.each([
    ["worker", MessageType.status],
    ["worker", MessageType.killNode],
    ["worker", MessageType.beginJob],
    ["worker", MessageType.issueToken],
    ["client", MessageType.register],
    ["client", MessageType.endJob],
    ["client", MessageType.report],
  ] as const)("a %s may not send type %d, whatever it says of itself", async (role, type) => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const node = new TestNode("x", role);
    mesh.connect(node);
    const error = await rejection(node.ask(type, { ...beginBody, role: "head", name: "coordinator" }));
    expect(error).toMatchObject({ code: "AUTHENTICATION", message: expect.stringContaining(`its role is ${role}`) });
  });

  it("a node without a session is nobody, and says nothing", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const [near, far] = memoryPair();
    mesh.node.addNode({ node: 77, role: "client", link: far }); // peerUp was not told
    const end = new RawEnd(near);
    const to = mesh.node.address;
    const payload = mesh.node.codec.encode({});
    const from = { node: 77, slot: 0 };
    end.link.send(frameOf({ type: MessageType.status, flags: FLAG_REQUEST, correlation: 1, from, to, payload }));
    await settled();
    expect(end.messages.map(({ type }) => type)).toEqual([MessageType.failure]);
    expect(mesh.node.codec.decode(end.messages[0]!.payload)).toMatchObject({ code: "AUTHENTICATION" });
  });

  it.each([
    ["no map", MessageType.status, 5, "USAGE"],
    ["a job that is no number or name", MessageType.killJob, { job: -1 }, "USAGE"],
    ["a grace of years", MessageType.killJob, { job: 1, graceMs: 1e12 }, "USAGE"],
    ["a limit of a million", MessageType.jobs, { limit: 1e6 }, "USAGE"],
    ["a role nobody has", MessageType.issueToken, { role: "coordinator" }, "USAGE"],
    ["slots beyond all", MessageType.register, { slots: 1e9 }, "PROTOCOL"],
    ["text instead of numbers", MessageType.report, { slotsUsed: "many" }, "PROTOCOL"],
    ["control characters", MessageType.logs, { job: 1, reader: 1, follow: true, host: "a\u001b[2Jb" }, "USAGE"],
    ["a name of 1 KB", MessageType.killNode, { name: "a".repeat(1_000) }, "USAGE"],
    ["NaN", MessageType.beginJob, { ...beginBody, startedAt: Number.NaN }, "PROTOCOL"],
    ["a log with the record of nobody", MessageType.jobLog, { records: [{}] }, "PROTOCOL"],
    ["over its bytes", MessageType.status, { a: "x".repeat(20_000) }, "FRAME_TOO_LARGE"],
  ])("bad input: %s in type %d", async (_, type, body, code) => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const head = await mesh.join("run-1", "head");
    expect(await rejection(head.ask(type, body))).toMatchObject({ code });
    expect(mesh.names).toEqual(["coordinator", "run-1"]);
  });

  it("bad input: CBOR that says it is longer than it is; nobody waits, so the problem is told", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const worker = await mesh.join("gpu1");
    const bomb = Buffer.from("9bffffffffffffffff", "hex");
    worker.node.send(worker.coordinator, MessageType.report, 0, 0, bomb);
    await settled();
    expect(mesh.problems).toMatchObject([{ code: "PROTOCOL" }]);
  });

  it("keys that are not known are left out: newer nodes are understood", async () => {
    using folder = tempFolder();
    await using mesh = new TestCoordinator({ folder: folder.path });
    const worker = await mesh.join("gpu1", "worker", {
      colour: "blue",
      node: 5,
      name: "other",
      role: "client",
    } as never);
    const [, info] = mesh.coordinator.status.nodes;
    expect(info).toMatchObject({ node: worker.id, name: "gpu1", role: "worker" });
    expect(info).not.toHaveProperty("colour");
  });
});
