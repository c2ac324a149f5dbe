// However a run ends, nothing of it stays: no process, no folder. Every test starts with a look at what runs.
import { describe, expect, test } from "vitest";
import {
  binary,
  type Files,
  kill,
  MeshProcess,
  nothingLeft,
  processesOf,
  runMesh,
  type TestFolder,
  testFolder,
} from "../support/mesh.ts";
import { until } from "../support/until.ts";

/** Tasks on both slots and the script, all busy; slots hold children that left them in every way there is. */
const busy = `import { pool } from "mesh";
import { spawn } from "node:child_process";
const p = pool({ slots: 2 });
await p.apply(() => {
  spawn("sleep", ["321"]);
  spawn("sh", ["-c", "sleep 322 & sleep 323 & wait"], { stdio: "ignore" });
  spawn("sh", ["-c", "(setsid sleep 324 &) ; exit 0"], { stdio: "ignore" });
  spawn("sleep", ["325"], { detached: true, stdio: "ignore" }).unref();
  return Bun.sleep(50);
});
console.log("driver", process.pid);
console.log("slots", (await p.apply(() => process.pid)).join(" "));
`;
const waits = "await p.map(() => new Promise(() => {}), [1, 2]);";
const blocks =
  "void p.map(() => { for (;;); }, [1, 2]).catch(() => {}); await Bun.sleep(200); console.log('blocked'); for (;;);";

interface Busy extends AsyncDisposable {
  mesh: MeshProcess;
  folder: TestFolder;
  driver: number;
  slots: number[];
}

async function start(script: string, files: Files = {}, args: string[] = []): Promise<Busy> {
  const folder = testFolder({ ...files, "job.ts": script });
  const mesh = new MeshProcess(folder, ["run", ...args, "job.ts"]);
  await mesh.prints(/slots [\d ]+\n/);
  const driver = Number(/driver (\d+)/.exec(mesh.stdout)![1]);
  const slots = /slots ([\d ]+)/.exec(mesh.stdout)![1]!.split(" ").map(Number);
  return {
    mesh,
    folder,
    driver,
    slots,
    async [Symbol.asyncDispose]() {
      await mesh[Symbol.asyncDispose]();
      folder[Symbol.dispose]();
    },
  };
}

const sleeps = (folder: TestFolder) =>
  processesOf(folder.marker).filter(({ command }) => command[0] === "sleep").length;

describe("F95 X26 the end of a run", () => {
  test("F95 before: mesh run, head, driver, two slots, ten children; after: nothing", async () => {
    await using run = await start(`${busy}await new Promise((end) => setTimeout(end, 100));`);
    await until(() => sleeps(run.folder) >= 10 || run.mesh.processes.length === 0, { what: "all children" });
    expect(run.mesh.inRole("head")).toHaveLength(1);
    expect(run.mesh.inRole("slot")).toHaveLength(3);
    expect(run.folder.runFolders()).toHaveLength(1);
    expect((await run.mesh.ended()).status).toBe(0);
    expect(processesOf(run.folder.marker)).toEqual([]);
    expect(run.folder.runFolders()).toEqual([]);
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("X26 %s once ends it with %i", async (signal, status) => {
    await using run = await start(busy + waits);
    run.mesh.signal(signal);
    expect((await run.mesh.ended()).status).toBe(status);
    await nothingLeft(run.folder, 0);
  });

  test("X26 Ctrl-C: the script's own handler runs, and has its time to clean up", async () => {
    const script = `process.on("SIGINT", async () => { await Bun.sleep(300); console.log("cleaned up"); process.exit(5); });
${busy}${waits}`;
    await using run = await start(script);
    run.mesh.signal("SIGINT");
    const { status, stdout } = await run.mesh.ended();
    expect([status, stdout]).toEqual([130, expect.stringContaining("cleaned up\n")]);
    await nothingLeft(run.folder, 0);
  });

  test("X26 Ctrl-C: a handler that does not end is ended after its grace", async () => {
    await using run = await start(`process.on("SIGINT", () => console.log("never mind")); ${busy}${waits}`);
    const begun = performance.now();
    run.mesh.signal("SIGINT");
    const { status, stdout } = await run.mesh.ended();
    expect(performance.now() - begun).toBeLessThan(3_000);
    expect([status, stdout]).toEqual([130, expect.stringContaining("never mind")]);
    await nothingLeft(run.folder, 0);
  });

  test("X26 Ctrl-C twice ends it at once", async () => {
    await using run = await start(`process.on("SIGINT", () => console.log("never mind")); ${busy}${waits}`);
    run.mesh.signal("SIGINT");
    await run.mesh.prints("never mind");
    const begun = performance.now();
    run.mesh.signal("SIGINT");
    expect((await run.mesh.ended()).status).toBe(130);
    expect(performance.now() - begun).toBeLessThan(1_000);
    await nothingLeft(run.folder, 0);
  });

  test("X38 Ctrl-C works while script and tasks hold their loops", async () => {
    await using run = await start(busy + blocks);
    await run.mesh.prints("blocked");
    const begun = performance.now();
    run.mesh.signal("SIGINT");
    expect((await run.mesh.ended()).status).toBe(130);
    expect(performance.now() - begun).toBeLessThan(3_000);
    await nothingLeft(run.folder, 0);
  });

  test("X38 a loop of seconds in the script and in tasks costs no slot: nobody is taken for dead", async () => {
    const script = `import { pool } from "mesh";
const hold = () => { const end = performance.now() + 2_500; while (performance.now() < end); return process.pid; };
const both = pool({ slots: 2 }).map(hold, [1, 2]);
hold();
console.log("held", new Set(await both).size);`;
    const { status, stdout, stderr } = await runMesh(["run", "job.ts"], { files: { "job.ts": script } });
    expect([status, stdout, stderr]).toEqual([0, "held 2\n", ""]);
  });

  test("X26 Ctrl-C typed on a terminal reaches the script by way of mesh run, once", async () => {
    using folder = testFolder({
      "job.ts": `process.on("SIGINT", () => { console.log("heard"); process.exit(0); }); console.log("ready"); setInterval(() => {}, 1_000);`,
    });
    let shown = "";
    const child = Bun.spawn([binary, "run", "job.ts"], {
      cwd: folder.path,
      env: { ...process.env, XDG_RUNTIME_DIR: folder.at(".runtime"), MESH_TEST_MARK: folder.marker },
      terminal: {
        data: (_terminal, data) => {
          shown += Buffer.from(data).toString();
        },
      },
    });
    await until(() => shown.includes("ready"), { what: "the script to begin" });
    child.terminal?.write("\x03");
    expect(await child.exited).toBe(130);
    child.terminal?.close();
    expect(shown.match(/heard/g)).toHaveLength(1);
    await nothingLeft(folder);
  });

  test("X26 a signal before the script has begun", async () => {
    using folder = testFolder({ "job.ts": "console.log('ran')" });
    for (let delayMs = 0; delayMs < 60; delayMs += 6) {
      await using mesh = new MeshProcess(folder, ["run", "job.ts"]);
      await Bun.sleep(delayMs); // at any moment of the start: not a wait for something
      mesh.signal("SIGINT");
      const { status, signal } = await mesh.ended();
      expect([0, 130, "SIGINT"]).toContain(signal ?? status);
      await nothingLeft(folder);
    }
  });

  test.each([
    ["waits", waits],
    ["holds its loop", blocks],
  ])("X26 kill -9 of mesh run, while all %s", async (_, rest) => {
    await using run = await start(busy + rest);
    if (rest === blocks) await run.mesh.prints("blocked");
    run.mesh.signal("SIGKILL");
    await run.mesh.ended();
    await nothingLeft(run.folder);
  });

  test.each([
    ["waits", waits],
    ["holds its loop", blocks],
  ])("X26 kill -9 of the head, while all %s: mesh run says so", async (_, rest) => {
    await using run = await start(busy + rest);
    if (rest === blocks) await run.mesh.prints("blocked");
    kill(run.mesh.inRole("head")[0]!.pid, "SIGKILL");
    const { status, stderr } = await run.mesh.ended();
    expect([status, stderr]).toEqual([5, expect.stringContaining("the head of the job was ended by SIGKILL")]);
    await nothingLeft(run.folder);
  });

  test("X26 kill -9 of the script's own process", async () => {
    await using run = await start(busy + waits);
    kill(run.driver, "SIGKILL");
    const { status, stderr } = await run.mesh.ended();
    expect([status, stderr]).toEqual([137, expect.stringContaining("the script was ended by SIGKILL")]);
    await nothingLeft(run.folder, 0);
  });

  test("X26 X27 kill -9 of a slot: what its task had started is gone, daemons too; the run goes on", async () => {
    await using run = await start(`${busy} ${waits}`);
    await until(() => sleeps(run.folder) >= 10, { what: "all children" });
    kill(run.slots[0]!, "SIGKILL");
    await until(() => sleeps(run.folder) === 5, { what: "the children of one slot to be gone", timeoutMs: 3_000 });
    await until(() => run.mesh.inRole("slot").length === 3, { what: "another slot in its place" });
    run.mesh.signal("SIGTERM");
    await run.mesh.ended();
    await nothingLeft(run.folder, 0);
  });

  test("X26 kill -9 of mesh run and head at once: no process stays, and the next run removes the folder", async () => {
    await using run = await start(busy + waits);
    const head = run.mesh.inRole("head")[0]!.pid;
    kill(head, "SIGSTOP"); // so that it cannot clean up in between
    run.mesh.signal("SIGKILL");
    kill(head, "SIGKILL");
    await run.mesh.ended();
    // What tasks had started goes to init: nobody is left who knows of it (the one end that mesh cannot tidy up after).
    const ours = () => processesOf(run.folder.marker).filter(({ command }) => !/^(sleep|sh)$/.test(command[0] ?? ""));
    await until(() => ours().length === 0, { what: "no process of mesh to be left", timeoutMs: 3_000 });
    expect(run.folder.runFolders()).toHaveLength(1);
    await using next = new MeshProcess(run.folder, ["run", "next.ts"], { files: { "next.ts": "" } });
    expect((await next.ended()).status).toBe(0);
    expect(run.folder.runFolders()).toEqual([]);
  });
});

describe("X27 daemons", () => {
  test.each([
    ["a child", `spawn("sleep", ["321"], { stdio: "ignore" }).unref()`],
    ["a background job of a shell", `spawn("sh", ["-c", "sleep 321 &"], { stdio: "ignore" })`],
    ["a child in a session of its own", `spawn("sleep", ["321"], { stdio: "ignore", detached: true }).unref()`],
    [
      "a daemon that forked twice",
      `spawn("sh", ["-c", "setsid sh -c 'sleep 321 & exit' & exit"], { stdio: "ignore", detached: true })`,
    ],
    [
      "one that ignores signals",
      `spawn("sh", ["-c", "trap '' TERM INT HUP; sleep 321; sleep 321"], { stdio: "ignore", detached: true })`,
    ],
  ])("X27 %s of a task ends with the job", async (_, spawns) => {
    const script = `import { pool } from "mesh"; import { spawn } from "node:child_process";
await pool({ slots: 1 }).submit(async () => { ${spawns}; await Bun.sleep(100); });
console.log("started");`;
    using folder = testFolder({ "job.ts": script });
    await using mesh = new MeshProcess(folder, ["run", "job.ts"]);
    expect((await mesh.ended()).status).toBe(0);
    await nothingLeft(folder, 0);
  });

  test("X27 a child of the script itself ends with it", async () => {
    const script = `import { spawn } from "node:child_process"; spawn("sleep", ["321"], { stdio: "ignore", detached: true }).unref();`;
    expect((await runMesh(["run", "job.ts"], { files: { "job.ts": script } })).status).toBe(0);
  });
});
