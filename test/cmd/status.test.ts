import { readdirSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesWords, momentWords, parseOverlap, roundTripWords, spanWords } from "../../cmd/amounts.ts";
import { exitStatusOf } from "../../cmd/exit.ts";
import * as status from "../../cmd/operate/status.ts";
import { type Column, table } from "../../cmd/table.ts";
import type { PeerStatus } from "../../core/coordinator/answers.ts";
import { MeshError } from "../../core/errors.ts";
import { until } from "../support/until.ts";
import { around, ESC, FakeMesh, jobOf, NOW, nodeOf, pathOf, run, Screen, type Setting, statusOf } from "./fake-mesh.ts";
import { mesh, temporaryFolder } from "./mesh.ts";

const nodes = [
  nodeOf({ name: "gpu10", state: "suspect", path: null, load: null, memory: null, tags: ["gpu", "big"] }),
  nodeOf({ name: "gpu2", version: "0.0.9" }),
  nodeOf({ name: "coordinator", role: "coordinator", slots: 0, used: 0, path: pathOf("self") }),
];
const jobs = [
  jobOf({ job: 7, progress: { label: "squares", done: 45, total: 100, running: 4, ratePerS: 5.5, failed: 2 } }),
  jobOf({ job: 8, name: "render", detached: true, nodes: ["a", "b", "c", "d"] }),
];

async function show(
  line: string[],
  setting: Setting = {},
  mesh = new FakeMesh({ status: () => statusOf({ nodes, jobs }) }),
) {
  const screen = new Screen();
  await run(status, ["status", ...line], around(mesh, screen, setting));
  expect(mesh.open).toBe(0);
  return screen;
}

describe("mesh status", () => {
  it("--json (F87): nodes with their path and measured round trip, jobs with progress, the mesh", async () => {
    const screen = await show(["--json"], { tty: true, columns: 10 });
    expect(screen).toMatchObject({ status: 0, stderr: "" });
    expect(screen.stdout.trimEnd()).not.toContain("\n");
    const answer = JSON.parse(screen.stdout);
    expect(answer.nodes[1]).toMatchObject({
      name: "gpu2",
      host: "gpu2",
      role: "worker",
      slots: 8,
      used: 3,
      path: { kind: "tcp", rttMs: 0.4213 },
    });
    expect(answer.jobs[0]).toMatchObject({ job: 7, state: "running", progress: { done: 45, total: 100 } });
    expect(answer.mesh).toMatchObject({ name: "lab", coordinator: { name: "coordinator" } });
  });

  it("without a terminal shows everything, plainly, nodes in the order of people (F87)", async () => {
    const { stdout, status } = await show([]);
    expect(status).toBe(0);
    expect(stdout.split("\n")).toEqual([
      "mesh lab: 2 workers, 6 of 16 slots used, 2 jobs running; coordinator on tcp://127.0.0.1:7450, tcp://10.0.0.2:7450, up 3h12m",
      "",
      "NODE         ROLE         STATE    SLOTS  LOAD      MEMORY  PATH     RTT  HOST         VERSION     UP  TAGS",
      "coordinator  coordinator  up           -  2.41  5.1G/31.3G  self       -  coordinator  0.1.0    1h00m",
      "gpu2         worker       up         3/8  2.41  5.1G/31.3G  tcp   0.42ms  gpu2         0.0.9    1h00m",
      "gpu10        worker       suspect    3/8     -           -  -          -  gpu10        0.1.0    1h00m  gpu,big",
      "",
      "JOB  NAME     TIME  PROGRESS                                   NODES    HEAD   DETACHED  USER          SCRIPT",
      "  7  primes  2m05s  squares 45/100 45% 5.5/s ETA 10s 2 failed  gpu1     run-7            alice@laptop  /home/alice/primes.ts",
      "  8  render  2m05s                                             4 nodes  run-8  yes       alice@laptop  /home/alice/primes.ts",
      "",
    ]);
  });

  it.each([30, 40, 60, 80, 100, 200])(
    "on a terminal of %i columns is no wider, and keeps the names",
    async (columns) => {
      const { stdout } = await show([], { tty: true, columns });
      const lines = stdout.trimEnd().split("\n");
      expect(Math.max(...lines.map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(columns);
      for (const word of ["gpu2", "suspect", "primes", "render"]) expect(stdout).toContain(word);
    },
  );

  const relayed: PeerStatus = {
    ...{ node: 18, name: "gpu10", state: "up" as const, path: "relay", address: "relay://10.0.0.2:9", rttMs: null },
    ...{ sinceMs: 65_000, why: "the routers of both give another port to each target" },
  };
  const direct = pathOf("udp", { address: "udp://10.0.0.3:7450", rttMs: 1.5, sinceMs: 7_000 });
  const pairs = [
    nodeOf({ name: "coordinator", node: 16, role: "coordinator", path: pathOf("self") }),
    nodeOf({ name: "gpu2", node: 17, path: direct, peers: [relayed] }),
    nodeOf({ name: "gpu10", node: 18, path: null, peers: [{ ...relayed, node: 17, name: "gpu2", why: null }] }),
  ];
  const withPairs = () => new FakeMesh({ status: () => statusOf({ nodes: pairs }) });

  it("F93 --peers: each pair once, with its path, where it leads, how long, and why there is no better one", async () => {
    const { stdout } = await show(["--peers"], {}, withPairs());
    const why = "the routers of both give another port to each target";
    expect(stdout.split("\n")).toEqual([
      "FROM         TO     STATE  PATH      RTT    FOR  ADDRESS              WHY NOT BETTER",
      "coordinator  gpu2   up     udp    1.50ms     7s  udp://10.0.0.3:7450",
      `gpu2         gpu10  up     relay       -  1m05s  relay://10.0.0.2:9   ${why}`,
      "",
    ]);
  });

  it("F93 --peers NODE: its pairs, as it tells of them, with what the other alone knows; --json has all of it", async () => {
    const { stdout } = await show(["--peers", "gpu10"], {}, withPairs());
    expect(stdout.split("\n")[1]).toMatch(/^gpu10 +gpu2 +up +relay .* the routers of both/);
    expect(stdout.trim().split("\n")).toHaveLength(2);
    const { nodes: all } = JSON.parse((await show(["--peers", "--json"], {}, withPairs())).stdout);
    expect(all.map(({ path }: { path: unknown }) => path)).toEqual([pathOf("self"), direct, null]);
    expect(all[1].peers).toEqual([relayed]);
    const lonely = new FakeMesh({ status: () => statusOf({ nodes: pairs.slice(0, 1) }) });
    expect((await show(["-p"], {}, lonely)).stdout).toBe("the mesh: no two nodes have a session with each other\n");
  });

  const done = {
    introduced: 12,
    relays: 1,
    bytes: 1.2 * 2 ** 30,
    packets: 1_400,
    dropped: 17,
    overQuota: 5,
    refused: 2,
  };
  const nothing = { introduced: 0, relays: 0, bytes: 0, packets: 0, dropped: 0, overQuota: 0, refused: 0, pairs: [] };
  const between: [string, string] = ["gpu10", "gpu2"];
  const vps = nodeOf({
    ...{ name: "vps", node: 20, role: "rendezvous", addresses: ["udp://10.0.0.2:7451"], slots: 0 },
    rendezvous: { ...done, pairs: [{ between, bytes: 5 * 2 ** 20 }] },
  });
  const withRelay = () => new FakeMesh({ status: () => statusOf({ nodes: [...pairs, vps] }) });

  it("F2 F24 says in one line what each rendezvous did, of the coordinator only when it was used; --json says which pairs", async () => {
    const { stdout } = await show([], {}, withRelay());
    const line =
      "vps: 12 pairs introduced, 1 relayed now, 1.2G forwarded (1400 packets by UDP), 17 packets dropped (5 over relayRate), 2 relays refused; on udp://10.0.0.2:7451";
    expect(stdout.split("\n").filter((each) => each.includes("introduced"))).toEqual([line]);
    const { nodes: all } = JSON.parse((await show(["--json"], {}, withRelay())).stdout);
    expect(all.at(-1).rendezvous).toEqual(vps.rendezvous);
    const both = (ofCoordinator: typeof nothing) =>
      new FakeMesh({
        status: () =>
          statusOf({
            nodes: [
              { ...pairs[0]!, rendezvous: ofCoordinator },
              { ...vps, rendezvous: nothing, addresses: [] },
            ],
          }),
      });
    expect((await show([], {}, both(nothing))).stdout).toMatch(/\n\nvps: 0 pairs introduced, 0 relayed now\n/);
    const used = (await show([], {}, both({ ...nothing, introduced: 1 }))).stdout;
    expect(used).toMatch(/\n\ncoordinator: 1 pair introduced, 0 relayed now\nvps: /);
  });

  it("F24 F93 --peers: what a relayed pair has sent", async () => {
    const { stdout } = await show(["--peers"], {}, withRelay());
    expect(stdout.split("\n").filter((line) => !line.includes("vps"))).toEqual([
      expect.stringMatching(/ FOR +RELAYED +ADDRESS/),
      expect.stringMatching(/^coordinator +gpu2 +up +udp +1.50ms +7s +udp:/),
      expect.stringMatching(/^gpu2 +gpu10 +up +relay +- +1m05s +5.0M +relay:/),
      "",
    ]);
  });

  it.each([30, 60, 100])(
    "F93 --peers on a terminal of %i columns is no wider, and keeps who and how",
    async (columns) => {
      const { stdout } = await show(["--peers"], { tty: true, columns }, withPairs());
      expect(Math.max(...stdout.split("\n").map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(columns);
      for (const word of ["gpu10", "relay"]) expect(stdout).toContain(word);
    },
  );

  it("a terminal that says it has no columns counts as 80", async () => {
    expect((await show([], { tty: true, columns: 0 })).stdout).toBe(
      (await show([], { tty: true, columns: 80 })).stdout,
    );
    expect((await show([], { tty: true })).stdout).toBe((await show([], { tty: true, columns: 80 })).stdout);
  });

  it("colours only a terminal that wants them (F87)", async () => {
    const coloured = await show([], { tty: true, columns: 200, colour: true });
    expect(coloured.stdout).toContain(`${ESC}[32mup`);
    expect(coloured.stdout).toContain(`${ESC}[33msuspect`);
    for (const setting of [{ tty: true, columns: 200 }, { colour: true }]) {
      expect((await show([], setting)).stdout).not.toContain(ESC);
    }
  });

  it("prints nothing that moves the cursor, whatever nodes call themselves", async () => {
    const evil = nodeOf({ name: "a", host: `x${ESC}[2J\u202eyz\r\n`, tags: ["\u009b31m", "\u2028"] });
    const { stdout } = await show([], {}, new FakeMesh({ status: () => statusOf({ nodes: [evil] }) }));
    expect(stdout).not.toMatch(/[^\n\P{Cc}]|[\p{Cf}\p{Zl}]/u);
    expect(stdout).toContain("x [2J yz");
  });

  it("a worker that is down is shown, and its slots are not counted", async () => {
    const both = [nodeOf({ name: "gpu1" }), nodeOf({ name: "gpu2", state: "down", path: null })];
    const { stdout } = await show([], {}, new FakeMesh({ status: () => statusOf({ nodes: both }) }));
    expect(stdout).toContain("mesh lab: 1 worker, 3 of 8 slots used, 0 jobs running;");
    expect(stdout).toMatch(/^gpu2 +worker +down /m);
  });

  it("a mesh without workers says how one joins", async () => {
    const { stdout } = await show([], {}, new FakeMesh());
    expect(stdout).toContain("no worker is up: start `mesh worker` here; `mesh token --role worker` tells how");
  });

  it("no mesh is up, or not that one: UNREACHABLE, so exit status 5", async () => {
    const failed = await show(["--mesh", "other"]).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "UNREACHABLE" });
    expect(exitStatusOf(failed)).toBe(5);
  });

  it("a coordinator that does not answer: TIMEOUT, and the client is let go", async () => {
    const mesh = new FakeMesh({ status: () => new Promise(() => {}) });
    const running = run(status, ["status"], around(mesh, new Screen())).catch((error: unknown) => error);
    await until(() => mesh.asked.length === 1, { what: "the question" });
    mesh.clock.advance(10_000);
    expect(await running).toMatchObject({ code: "TIMEOUT" });
    expect(mesh.open).toBe(0);
  });

  it("a full disk is OUTPUT; a reader that is gone is no error", async () => {
    for (const [code, ended] of [
      ["ENOSPC", "OUTPUT"],
      ["EPIPE", undefined],
    ] as const) {
      const screen = new Screen();
      screen.onWrite = () => {
        throw Object.assign(new Error(`${code}: write`), { code });
      };
      const mesh = new FakeMesh();
      const outcome = await run(status, ["status"], around(mesh, screen)).catch((error: MeshError) => error.code);
      expect(outcome).toBe(ended);
      expect(screen.status).toBe(ended === undefined ? 0 : undefined);
      expect(mesh.open).toBe(0);
    }
  });

  it.each([
    [["--wach"], "Did you mean --watch?"],
    [["extra"], "names of nodes go with --peers"],
    [["--peers", "gpu3"], 'there is no node "gpu3" in the mesh; did you mean "gpu2"?'],
  ])("%j is a usage error (F88)", async (line, told) => {
    await expect(show(line)).rejects.toThrow(told);
  });
});

describe("mesh status --watch", () => {
  const watching = (mesh: FakeMesh, line: string[], setting: Setting = {}) => {
    const screen = new Screen();
    const ended = run(status, ["status", "--watch", ...line], around(mesh, screen, setting));
    ended.catch(() => {});
    return { screen, ended };
  };
  const shown = (screen: Screen, part: string, times: number) =>
    until(() => screen.stdout.split(part).length > times, { what: `${part}, ${times} times` });
  /** The redraw waits for the clock: moves it until the mesh was asked once more. */
  const nextSecond = async (mesh: FakeMesh) => {
    const before = mesh.asked.length;
    await until(
      () => {
        if (mesh.asked.length === before) mesh.clock.advance(1_000);
        return mesh.asked.length > before;
      },
      { what: "the next question" },
    );
  };

  it("draws over itself on a terminal; Ctrl-C ends with 0 and leaves the last one there", async () => {
    let used = 0;
    const mesh = new FakeMesh({ status: () => statusOf({ nodes: [nodeOf({ name: "gpu1", used: ++used })] }) });
    const { screen, ended } = watching(mesh, [], { tty: true, columns: 80 });
    await shown(screen, "1/8", 1);
    expect(screen.stdout.startsWith(`${ESC}[?1049h${ESC}[?25l${ESC}[H`)).toBe(true);
    await nextSecond(mesh);
    await shown(screen, "2/8", 1);
    screen.interrupt.abort("SIGINT");
    await ended;
    expect(screen.status).toBe(0);
    const [, rest] = screen.stdout.split(`${ESC}[?25h${ESC}[?1049l`);
    expect(rest).toMatch(/^mesh lab: 1 worker, .*gpu1 .* 2\/8 .*\n$/s);
    expect(rest).not.toContain(ESC);
    expect(mesh).toMatchObject({ open: 0, opened: 1 });
  });

  it("shows no more lines than there are rows, and says how many it left out", async () => {
    const many = Array.from({ length: 30 }, (_, at) => nodeOf({ name: `gpu${at}` }));
    const mesh = new FakeMesh({ status: () => statusOf({ nodes: many }) });
    const { screen, ended } = watching(mesh, [], { tty: true, columns: 80, rows: 10 });
    await shown(screen, "more", 1);
    expect(screen.stdout.trimEnd().split("\n")).toHaveLength(9);
    expect(screen.stdout).toContain("... 25 more");
    screen.interrupt.abort("SIGINT");
    await ended;
  });

  it("one block each second where there is no terminal, one line each with --json; SIGTERM ends with 143", async () => {
    const mesh = new FakeMesh();
    const { screen, ended } = watching(mesh, []);
    await shown(screen, "mesh lab", 1);
    await nextSecond(mesh);
    await shown(screen, "mesh lab", 2);
    screen.interrupt.abort("SIGTERM");
    await ended;
    expect(screen.status).toBe(143);
    const [first, second] = screen.stdout.trimEnd().split("\n\nmesh lab");
    expect(first).toBe(`mesh lab${second}`);
    expect(screen.stdout).not.toContain(ESC);

    const json = watching(mesh, ["--json"], { tty: true });
    await shown(json.screen, "\n", 1);
    await nextSecond(mesh);
    await shown(json.screen, "\n", 2);
    json.screen.interrupt.abort("SIGINT");
    await json.ended;
    for (const line of json.screen.stdout.trimEnd().split("\n")) expect(JSON.parse(line).mesh.name).toBe("lab");
  });

  it("outlives the coordinator: says that it does not answer, asks again, goes on when it is back", async () => {
    const mesh = new FakeMesh();
    const { screen, ended } = watching(mesh, [], { tty: true, columns: 80 });
    await shown(screen, "mesh lab", 1);
    mesh.isUp = false;
    mesh.coordinator!.close();
    await until(
      () => {
        mesh.clock.advance(1_000);
        return screen.stdout.includes("the mesh lab is not up; asking again");
      },
      { what: "the trouble" },
    );
    const before = screen.stdout.length;
    mesh.isUp = true;
    await nextSecond(mesh);
    await until(() => screen.stdout.slice(before).includes("mesh lab"), { what: "the status again" });
    screen.interrupt.abort("SIGINT");
    await ended;
    expect(screen.status).toBe(0);
    expect(mesh).toMatchObject({ open: 0, opened: 2 });
  });

  it("fails at once when the first question does", async () => {
    const mesh = new FakeMesh({
      status: () => {
        throw new MeshError("AUTHENTICATION", "this command was revoked");
      },
    });
    const { screen, ended } = watching(mesh, [], { tty: true });
    await expect(ended).rejects.toMatchObject({ code: "AUTHENTICATION" });
    expect(screen.stdout).toBe("");
  });
});

describe("the commands of users, as the binary has them", () => {
  it.each([
    "status",
    "status --watch",
    "jobs",
    "kill 7",
    "kill --all --yes",
    "logs 7",
    "attach 7",
    "token --role worker",
    "revoke gpu1",
    "rotate",
  ])("mesh %s: without a mesh 5, and how to start one; nothing is made", (line) => {
    using folder = temporaryFolder();
    const env = { XDG_STATE_HOME: folder.path };
    const answer = mesh(line.split(" "), { cwd: folder.path, env });
    expect(answer).toMatchObject({ status: 5, stdout: "" });
    expect(answer.stderr).toMatch(/^error: the mesh mesh is not up .*`mesh coordinator`/);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it("mesh kill --all asks nobody where nobody is", () => {
    expect(mesh(["kill", "--all"])).toMatchObject({ status: 2, stdout: "" });
  });
});

describe("table", () => {
  interface Row {
    a: string;
    b: string;
    c: string;
  }
  const columns: Column<Row>[] = [
    { title: "A", rank: 0, text: ({ a }) => a },
    { title: "B", rank: 2, align: "right", text: ({ b }) => b },
    { title: "C", rank: 1, isCut: true, text: ({ c }) => c },
  ];
  const rows = [{ a: "one", b: "1", c: "a long text that may be cut" }];
  const lines = (width: number | undefined) => table(rows, columns, { width, colour: false });

  it("cuts what may be cut, then leaves out the least important, never the first rank", () => {
    expect(lines(undefined)).toEqual(["A    B  C", "one  1  a long text that may be cut"]);
    expect(lines(30)).toEqual(["A    B  C", "one  1  a long text that ma..."]);
    expect(lines(22)).toEqual(["A    C", "one  a long text th..."]);
    expect(lines(10)).toEqual(["A", "one"]);
    expect(lines(2)).toEqual(["A", "on"]);
  });

  it("leaves out columns that are empty, counts wide letters as two", () => {
    expect(table([{ a: "界界", b: "", c: "x" }], columns, { width: 80, colour: false })).toEqual([
      "A     C",
      "界界  x",
    ]);
  });

  it("fits every width", () => {
    const cell = fc.string({ unit: "grapheme", maxLength: 30 });
    const anyRows = fc.array(fc.record({ a: cell, b: cell, c: cell }), { maxLength: 5 });
    fc.assert(
      fc.property(anyRows, fc.integer({ min: 1, max: 100 }), fc.boolean(), (some, width, colour) => {
        const made = table(some, columns, { width, colour });
        expect(made).toHaveLength(some.length + 1);
        for (const line of made) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(width);
      }),
      // A cluster that Bun measures wider than it cuts.
      { examples: [[[{ a: "\u{1d158}\u{1d165}\u{1d16e}  !", b: "", c: "" }], 5, false]] },
    );
  });
});

it("amounts: spans, round trips, sizes, moments", () => {
  expect([0, 0.2, 59, 61, 7_199, 7_200, 90_000, 400_000].map(spanWords)).toEqual([
    "0s",
    "1s",
    "59s",
    "1m01s",
    "1h59m",
    "2h00m",
    "25h00m",
    "4d",
  ]);
  expect(spanWords(-5)).toBe("0s");
  expect([0.004, 0.42, 9.994, 12.34, 1_234].map(roundTripWords)).toEqual([
    "0.00ms",
    "0.42ms",
    "9.99ms",
    "12.3ms",
    "1.23s",
  ]);
  expect([0, 900, 1_024, 1_048_575, 5.1 * 2 ** 30, 3 * 2 ** 50].map(bytesWords)).toEqual([
    "0B",
    "900B",
    "1.0K",
    "1.0M",
    "5.1G",
    "3072.0T",
  ]);
  expect(momentWords(NOW)).toBe("2026-01-02 15:04:05");
  expect(["0", "90d", "1h30m"].map(parseOverlap)).toEqual([0, 7_776_000_000, 5_400_000]);
  for (const wrong of ["", "5", "99999d", "-1d", "1w"]) expect(() => parseOverlap(wrong)).toThrow("expected");
});
