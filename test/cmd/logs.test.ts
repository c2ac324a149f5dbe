import { describe, expect, it } from "vitest";
import { exitStatusOf } from "../../cmd/exit.ts";
import * as logs from "../../cmd/operate/logs.ts";
import type { LogLines } from "../../core/coordinator/answers.ts";
import { MeshError } from "../../core/errors.ts";
import type { Address } from "../../core/wire/message.ts";
import { until } from "../support/until.ts";
import { type Answers, around, ESC, FakeMesh, jobOf, NOW, record, run, Screen, type Setting } from "./fake-mesh.ts";

const records = [
  record("from the script\n"),
  record("one\ntwo\n", { seat: 1 }),
  record("oops\n", { seat: 2, host: "gpu2", stream: "stderr" }),
];
const END: Partial<LogLines> = { end: true, state: "done", exitCode: 0 };

/** Sends these batches to who asks for a log, each when the one before was taken. */
function meshOf(batches: Partial<LogLines>[], answers: Answers = {}) {
  const sent: Partial<LogLines>[] = [];
  const mesh: FakeMesh = new FakeMesh({
    logs: (_, from) => {
      void send(from);
      return { job: 7, state: "running" };
    },
    stopLogs: () => {},
    jobs: () => ({ jobs: [jobOf({ job: 7, nodes: ["gpu1", "gpu2"] })] }),
    ...answers,
  });
  const send = async (to: Address) => {
    for (const lines of batches) {
      await mesh.lines(to, lines).catch(() => {});
      sent.push(lines);
    }
  };
  return { mesh, sent };
}

async function read(line: string[], setting: Setting = {}, { mesh } = meshOf([{ records }, END])) {
  const screen = new Screen();
  const error = await run(logs, ["logs", ...line], around(mesh, screen, setting)).then(
    () => undefined,
    (thrown: unknown) => thrown as MeshError,
  );
  expect(mesh.open).toBe(0);
  return { ...screen, asked: mesh.asked, error };
}

describe("mesh logs (F77)", () => {
  it("without a terminal: each stream to its own, bytes as they are", async () => {
    const { stdout, stderr, status } = await read(["7"]);
    expect(stdout).toBe("from the script\none\ntwo\n");
    expect(stderr).toBe("oops\n");
    expect(status).toBe(0);
  });

  it("on a terminal: lines of slots behind [host/slot], those of the script as they are, in order", async () => {
    const { all } = await read(["7"], { tty: true });
    expect(all).toBe("from the script\n[gpu1/1] one\n[gpu1/1] two\n[gpu2/2] oops\n");
    const coloured = await read(["7"], { tty: true, colour: true });
    expect(coloured.all).toMatch(new RegExp(`${ESC}\\[\\d+m\\[gpu1/1\\]${ESC}\\[0m one\n`));
  });

  it("--json (F87): an object for each line, and at last how the job stands", async () => {
    const { stdout, stderr } = await read(["7", "--json"], { tty: true });
    expect(stderr).toBe("");
    expect(
      stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([
      { timeMs: NOW, host: "gpu1", slot: 0, stream: "stdout", line: "from the script" },
      { timeMs: NOW, host: "gpu1", slot: 1, stream: "stdout", line: "one" },
      { timeMs: NOW, host: "gpu1", slot: 1, stream: "stdout", line: "two" },
      { timeMs: NOW, host: "gpu2", slot: 2, stream: "stderr", line: "oops" },
      { end: true, job: 7, state: "done", exitCode: 0 },
    ]);
  });

  it("asks for what is wanted, and for nothing else", async () => {
    const asked = async (...line: string[]) => (await read(line)).asked[0]![1];
    expect(await asked("7")).toEqual({ job: 7, reader: 1, follow: false });
    expect(await asked("primes", "-f")).toEqual({ job: "primes", reader: 1, follow: true });
    const all = ["--host", "gpu1", "--slot", "0", "--stream", "stderr", "--tail", "10"];
    expect(await asked("7", ...all)).toEqual({
      ...{ job: 7, reader: 1, follow: false },
      ...{ host: "gpu1", slot: 0, stream: "stderr", tail: 10 },
    });
  });

  it("says where bytes were dropped, and how many", async () => {
    const gap = () =>
      meshOf([{ records: records.slice(0, 1) }, { records: records.slice(1), droppedBytes: 5_000_000 }, END]);
    const text = "4.8M of output are missing here: the log was full or could not be written";
    const { all } = await read(["7"], { tty: true }, gap());
    expect(all).toContain(`from the script\nmesh: ${text}\n[gpu1/1] one\n`);
    const plain = await read(["7"], {}, gap());
    expect(plain).toMatchObject({ stdout: "from the script\none\ntwo\n", stderr: `mesh: ${text}\noops\n` });
    const json = await read(["7", "--json"], {}, gap());
    expect(JSON.parse(json.stdout.split("\n")[1]!)).toEqual({ droppedBytes: 5_000_000 });
  });

  it("bytes that are no text pass through unchanged, and are replaced in JSON", async () => {
    const odd = [record("", { bytes: Uint8Array.of(0xff, 0x00, 10) }), record("no end")];
    const screen = new Screen();
    const { mesh } = meshOf([{ records: odd }, END]);
    const surroundings = around(mesh, screen);
    const written: number[] = [];
    await run(logs, ["logs", "7"], { ...surroundings, stdout: async (bytes) => void written.push(...bytes) });
    expect(written).toEqual([0xff, 0x00, 10, ...new TextEncoder().encode("no end")]);
    const json = await read(["7", "--json"], {}, meshOf([{ records: odd }, END]));
    expect(
      json.stdout
        .split("\n")
        .slice(0, 2)
        .map((line) => JSON.parse(line).line),
    ).toEqual(["\ufffd\0", "no end"]);
  });

  it("takes the next batch only when the one before is printed", async () => {
    const { mesh, sent } = meshOf([{ records }, { records }, END]);
    const screen = new Screen();
    const reader = Promise.withResolvers<void>();
    let writes = 0;
    screen.onWrite = () => {
      writes++;
      return reader.promise;
    };
    const running = run(logs, ["logs", "7"], around(mesh, screen));
    await until(() => writes > 0, { what: "the first write" });
    expect(sent).toHaveLength(0);
    reader.resolve();
    await running;
    expect(screen.stdout).toBe("from the script\none\ntwo\n".repeat(2));
  });

  it("a log that cannot be read on: what there was, then STORAGE, so exit status 1", async () => {
    const { stdout, error } = await read(["7"], {}, meshOf([{ records }, { end: true, error: "the file is damaged" }]));
    expect(stdout).toContain("two\n");
    expect(error).toMatchObject({
      code: "STORAGE",
      message: "the log of job 7 ends here, it cannot be read on: the file is damaged",
    });
    expect(exitStatusOf(error)).toBe(1);
  });

  it("an unknown job is the coordinator's refusal, with what it has near (F88)", async () => {
    const refuse = () => {
      throw new MeshError("USAGE", 'there is no job "prime"; did you mean "primes"?');
    };
    const { error } = await read(["prime"], {}, meshOf([], { logs: refuse }));
    expect(error).toMatchObject({ code: "USAGE", message: 'there is no job "prime"; did you mean "primes"?' });
  });

  it("a host on which it printed nothing, and was not: says where it was (F88)", async () => {
    const of = async (host: string) => (await read(["7", "--host", host], {}, meshOf([END]))).stderr;
    expect(await of("gpu3")).toBe("mesh: job 7 printed nothing on a node named gpu3: did you mean gpu1?\n");
    expect(await of("elsewhere")).toBe(
      "mesh: job 7 printed nothing on a node named elsewhere: it used run-7, gpu1, gpu2\n",
    );
    expect(await of("gpu2")).toBe("");
  });

  it.each([
    [[], "missing required argument 'job'"],
    [["0"], "they count from 1"],
    [["99999999999999999999"], "they count from 1"],
    [["7", "--slot", "x"], "whole number of 0 to 65535"],
    [["7", "--stream", "stdin"], "Allowed choices are stdout, stderr"],
    [["7", "--tial", "3"], "Did you mean --tail?"],
    [["7", "--host", "a b"], "A name has"],
  ])("%j is a usage error, and asks nothing", async (line, told) => {
    const { error, asked } = await read(line);
    expect(error!.message).toContain(told);
    expect(asked).toEqual([]);
  });
});

describe("mesh logs: its end", () => {
  /** A log that goes on until the test says otherwise. */
  function following(setting: Setting = {}, line = ["7", "-f"]) {
    const { mesh } = meshOf([{ records }]);
    const screen = new Screen();
    const ended = run(logs, ["logs", ...line], around(mesh, screen, setting)).then(
      () => undefined,
      (error: MeshError) => error,
    );
    return { mesh, screen, ended, printed: () => until(() => screen.stdout.includes("two"), { what: "the lines" }) };
  }

  it("-f follows to the job's end, and tells of one that did not end well (F82)", async () => {
    const jobs = () => ({ jobs: [jobOf({ job: 7, state: "failed", exitCode: 3, cause: "threw a RangeError" })] });
    const failed = meshOf([{ records }, { end: true, state: "failed", exitCode: 3 }], { jobs });
    expect(await read(["7", "-f"], {}, failed)).toMatchObject({
      status: 0,
      stderr: "oops\nmesh: job 7 (primes): failed, exit status 3: threw a RangeError\n",
    });
    expect((await read(["7", "-f"])).stderr).toBe("oops\n");
  });

  it("Ctrl-C while following ends with 130, and tells the coordinator to stop", async () => {
    const { mesh, screen, ended, printed } = following();
    await printed();
    screen.interrupt.abort("SIGINT");
    expect(await ended).toBeUndefined();
    expect(screen).toMatchObject({ status: 130, stderr: "oops\n" });
    await until(() => mesh.asked.some(([name]) => name === "stopLogs"), { what: "the stop" });
    expect(mesh.open).toBe(0);
  });

  it("a coordinator that goes away is LINK_CLOSED, so exit status 5, and no hang", async () => {
    const { mesh, ended, printed } = following();
    await printed();
    mesh.coordinator!.close();
    const error = await ended;
    expect(error).toMatchObject({ code: "LINK_CLOSED" });
    expect(error!.message).toContain("the coordinator went away; the job goes on");
    expect(exitStatusOf(error)).toBe(5);
  });

  it.each(["stdout", "stderr"] as const)(
    "ends quietly when the reader of %s is gone (`mesh logs 7 | head`)",
    async (gone) => {
      const { mesh } = meshOf([{ records }, { records }]);
      const screen = new Screen();
      screen.onWrite = (stream) => {
        if (stream === gone) throw Object.assign(new Error("EPIPE: broken pipe"), { code: "EPIPE" });
      };
      await run(logs, ["logs", "7", "-f"], around(mesh, screen));
      expect(screen.status).toBe(0);
      await until(() => mesh.asked.some(([name]) => name === "stopLogs"), { what: "the stop" });
    },
  );

  it("a full disk is OUTPUT", async () => {
    const { mesh } = meshOf([{ records }, END]);
    const screen = new Screen();
    screen.onWrite = () => {
      throw Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });
    };
    const running = run(logs, ["logs", "7"], around(mesh, screen));
    await expect(running).rejects.toMatchObject({ code: "OUTPUT" });
  });

  it("a signal before the coordinator has answered ends it too", async () => {
    const { mesh } = meshOf([], { logs: () => new Promise(() => {}) });
    const screen = new Screen();
    const running = run(logs, ["logs", "7"], around(mesh, screen));
    await until(() => mesh.asked.length > 0, { what: "the question" });
    screen.interrupt.abort("SIGTERM");
    await running;
    expect(screen.status).toBe(143);
  });
});
