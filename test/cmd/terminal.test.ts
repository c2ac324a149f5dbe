import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { progressLine, Terminal, type TerminalOptions } from "../../cmd/terminal.ts";
import { ManualClock } from "../../core/clock.ts";
import type { Progress } from "../../core/worker/control.ts";
import { until } from "../support/until.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (all: Uint8Array) => new TextDecoder().decode(all);
const state: Progress = { label: "squares", done: 1, total: 10, running: 2, ratePerS: 5 };
const ERASE = "\r\x1b[2K";
const SHOW_CURSOR = "\x1b[?25h";

/** A terminal that writes to `screen` (both streams) and `stdout`, `stderr` (each its own). */
function fake(options: Partial<TerminalOptions> & { tty?: boolean } = {}) {
  const seen = { screen: "", stdout: "", stderr: "", writes: 0 };
  const take = (stream: "stdout" | "stderr") => async (all: Uint8Array) => {
    const piece = text(all);
    await undefined;
    seen.screen += piece;
    seen[stream] += piece;
    seen.writes++;
  };
  const clock = new ManualClock();
  const { tty = true, ...rest } = options;
  const terminal = new Terminal({
    stdout: take("stdout"),
    stderr: take("stderr"),
    isTty: { stdout: tty, stderr: tty },
    columns: () => 80,
    colour: false,
    clock,
    ...rest,
  });
  const settle = () => Bun.sleep(0);
  return { terminal, seen, clock, settle };
}

const allOf = (output: ReadableStream<Uint8Array>) => new Response(output as BodyInit).text();

/** What a person sees: a very small terminal that knows "\r", "\n" and erasing a line. */
function screenOf(output: string): string[] {
  const lines = [""];
  for (const part of output
    .replaceAll(SHOW_CURSOR, "")
    .replaceAll(ERASE, "\v")
    .split(/(\v|\r?\n)/)) {
    if (part === "\v") lines[lines.length - 1] = "";
    else if (part === "\n" || part === "\r\n") lines.push("");
    else lines[lines.length - 1] += part;
  }
  return lines;
}

describe("Terminal, not on a terminal (F87)", () => {
  it("driver: bytes pass unchanged, in order, to their own stream", async () => {
    const { terminal, seen } = fake({ tty: false });
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    const got: Uint8Array[] = [];
    const raw = fake({ tty: false, stdout: async (piece) => void got.push(piece.slice()) });
    await raw.terminal.driver("stdout", all);
    await raw.terminal.driver("stdout", all);
    expect(Buffer.concat(got)).toEqual(Buffer.concat([all, all]));
    await Promise.all([terminal.driver("stdout", bytes("a")), terminal.driver("stderr", bytes("b\n"))]);
    await terminal.driver("stdout", bytes("c"));
    await terminal.end();
    expect(seen).toMatchObject({ stdout: "ac", stderr: "b\n" });
  });

  it("slot: bare whole lines; notice: on stderr; progress: nothing at all", async () => {
    const { terminal, seen, clock } = fake({ tty: false });
    terminal.progress(state);
    await terminal.slot("stdout", "here/1", "one\ntwo");
    await terminal.slot("stdout", "here/1", bytes("three\n"));
    await terminal.slot("stdout", "here/1", "");
    await terminal.notice("hello");
    clock.advance(1_000);
    await terminal.end();
    expect(seen).toMatchObject({ stdout: "one\ntwo\nthree\n\n", stderr: "mesh: hello\n" });
  });

  it("slot: waits for the end of the script's line, however the script cuts it", async () => {
    const { terminal, seen } = fake({ tty: false });
    await terminal.driver("stdout", bytes("abc"));
    const slot = terminal.slot("stdout", "here/1", "slot");
    await terminal.driver("stdout", bytes("def"));
    await terminal.driver("stdout", bytes("ghi\njkl"));
    await slot;
    expect(seen.stdout).toBe("abcdefghi\nslot\njkl");
  });

  it("slot: breaks the script's line after 250 ms, once, so that nobody waits for good", async () => {
    const { terminal, seen, clock, settle } = fake({ tty: false });
    await terminal.driver("stdout", bytes("working... "));
    const slots = [terminal.slot("stdout", "a", "1"), terminal.slot("stdout", "b", "2")];
    await settle();
    clock.advance(249);
    await settle();
    expect(seen.stdout).toBe("working... ");
    clock.advance(1);
    await Promise.all(slots);
    await terminal.slot("stdout", "c", "3");
    await terminal.driver("stdout", bytes("done\n"));
    expect(seen.stdout).toBe("working... \n1\n2\n3\ndone\n");
  });

  it("slot: an open line of stdout holds back nothing on stderr, unless both lead to one file", async () => {
    const apart = fake({ tty: false });
    await apart.terminal.driver("stdout", bytes("abc"));
    await apart.terminal.slot("stderr", "a", "1");
    expect(apart.seen.stderr).toBe("1\n");
    const one = fake({ tty: false, isOneTarget: true });
    await one.terminal.driver("stdout", bytes("abc"));
    const slot = one.terminal.slot("stderr", "a", "1");
    await one.terminal.driver("stdout", bytes("\n"));
    await slot;
    expect(one.seen.screen).toBe("abc\n1\n");
  });

  it("end: writes what was held back", async () => {
    const { terminal, seen } = fake({ tty: false });
    void terminal.driver("stdout", bytes("abc"));
    void terminal.slot("stdout", "a", "1");
    await terminal.end();
    expect(seen.stdout).toBe("abc\n1\n");
  });

  it("whole lines, never mixed, whoever writes when", async () => {
    const actions = fc.array(
      fc.oneof(
        fc.record({ slot: fc.nat(3), lines: fc.integer({ min: 1, max: 3 }) }),
        fc.record({ driver: fc.stringMatching(/^[a-c\n]{1,6}$/) }),
        fc.constant("settle" as const),
      ),
      { maxLength: 40 },
    );
    await fc.assert(
      fc.asyncProperty(actions, async (steps) => {
        const { terminal, seen, settle } = fake({ tty: false });
        const sent: string[][] = [[], [], [], []];
        let driver = "";
        for (const step of steps) {
          if (step === "settle") await settle();
          else if ("driver" in step) {
            driver += step.driver;
            void terminal.driver("stdout", bytes(step.driver));
          } else {
            const lines = Array.from({ length: step.lines }, (_, i) => `<${step.slot}:${sent[step.slot]!.length + i}>`);
            sent[step.slot]!.push(...lines);
            void terminal.slot("stdout", "x", lines.join("\n"));
          }
        }
        void terminal.driver("stdout", bytes("\n"));
        await terminal.end();
        const lines = seen.stdout.split("\n");
        sent.forEach((own, slot) => {
          expect(lines.filter((line) => line.startsWith(`<${slot}:`))).toEqual(own);
        });
        expect(lines.filter((line) => !/^<\d:\d+>$/.test(line)).join("\n")).toBe(`${driver}\n`);
      }),
      { numRuns: 60 },
    );
  });
});

describe("Terminal, on a terminal (F87)", () => {
  it("slot: each line behind its label, in the label's own colour", async () => {
    const { terminal, seen } = fake();
    await terminal.slot("stdout", "here/2", "one\n\ntwo\n");
    expect(seen.stdout).toBe("[here/2] one\n[here/2] \n[here/2] two\n");
    const coloured = fake({ colour: true });
    await coloured.terminal.slot("stderr", "here/2", "\x1b[1mbold");
    await coloured.terminal.slot("stderr", "here/2", "plain");
    const [bold = "", plain = ""] = coloured.seen.stderr.split("\n");
    const prefix = plain.replace("plain", "");
    expect(prefix.replace(/\d+m/, "")).toBe("\x1b[[here/2]\x1b[0m ");
    expect(bold).toBe(`${prefix}\x1b[1mbold\x1b[0m`);
  });

  it("progress: at most ten redraws a second, the last state wins", async () => {
    const { terminal, seen, clock, settle } = fake();
    for (let done = 0; done < 100; done++) {
      terminal.progress({ ...state, done, total: 100 });
      clock.advance(10);
      await settle();
    }
    clock.advance(100);
    await settle();
    expect(seen.writes).toBeGreaterThan(5);
    expect(seen.writes).toBeLessThanOrEqual(11);
    expect(screenOf(seen.screen)).toEqual([progressLine({ ...state, done: 99, total: 100 }, 80)]);
    clock.advance(10_000);
    await settle();
    expect(seen.writes).toBeLessThanOrEqual(11);
  });

  it("progress: output erases the bar first; it comes back below", async () => {
    const { terminal, seen, clock, settle } = fake();
    terminal.progress(state);
    await settle();
    const bar = progressLine(state, 80);
    expect(screenOf(seen.screen)).toEqual([bar]);
    await terminal.driver("stdout", bytes("result\n"));
    await terminal.slot("stderr", "here/1", "log");
    await terminal.notice("note");
    expect(screenOf(seen.screen)).toEqual(["result", "[here/1] log", "mesh: note", ""]);
    clock.advance(100);
    await settle();
    expect(screenOf(seen.screen)).toEqual(["result", "[here/1] log", "mesh: note", bar]);
    terminal.progress(undefined);
    await settle();
    expect(screenOf(seen.screen)).toEqual(["result", "[here/1] log", "mesh: note", ""]);
  });

  it("progress: stays away while the script's line is open, and also after others broke it", async () => {
    const { terminal, seen, clock, settle } = fake();
    terminal.progress(state);
    await settle();
    await terminal.driver("stdout", bytes("Name? "));
    clock.advance(200);
    await settle();
    expect(screenOf(seen.screen)).toEqual(["Name? "]);
    await terminal.notice("somebody else");
    clock.advance(1_000);
    await settle();
    expect(screenOf(seen.screen)).toEqual(["Name? ", "mesh: somebody else", ""]);
    await terminal.driver("stderr", bytes("ok\n"));
    clock.advance(100);
    await settle();
    expect(screenOf(seen.screen)).toEqual(["Name? ", "mesh: somebody else", "ok", progressLine(state, 80)]);
  });

  it("end: takes the bar away for good and shows the cursor, but only where it was touched", async () => {
    const { terminal, seen, clock, settle } = fake();
    terminal.progress(state);
    await settle();
    await terminal.end();
    terminal.progress(state);
    clock.advance(1_000);
    await settle();
    expect(seen.screen.endsWith(`${ERASE}${SHOW_CURSOR}`)).toBe(true);
    const calm = fake();
    await calm.terminal.driver("stdout", bytes("text\n"));
    await calm.terminal.end();
    expect(calm.seen.screen).toBe("text\n");
    const spinner = fake();
    await spinner.terminal.driver("stdout", bytes("\x1b[?25lspin"));
    await spinner.terminal.end();
    expect(spinner.seen.stdout).toBe(`\x1b[?25lspin${SHOW_CURSOR}`);
  });

  it("progress: the bar is on stderr alone when stdout is a pipe", async () => {
    const { terminal, seen, settle } = fake({ isTty: { stdout: false, stderr: true } });
    terminal.progress(state);
    await settle();
    await terminal.driver("stdout", bytes("data"));
    await terminal.slot("stderr", "a", "log");
    expect(seen.stdout).toBe("data");
    expect(seen.stderr).toBe(`${ERASE}${progressLine(state, 80)}${ERASE}[a] log\n`);
  });
});

describe("Terminal, backpressure and broken outputs", () => {
  it("a promise resolves when its bytes are taken, and what comes meanwhile goes out in one write", async () => {
    const gates: (() => void)[] = [];
    const writes: string[] = [];
    const stdout = (all: Uint8Array) => {
      writes.push(text(all));
      return new Promise<void>((resolve) => gates.push(resolve));
    };
    const { terminal, seen, settle } = fake({ tty: false, stdout });
    let taken = 0;
    const put = (line: string) => void terminal.slot("stdout", "a", line).then(() => taken++);
    put("1");
    await settle();
    put("2");
    put("3");
    await settle();
    expect([writes, taken]).toEqual([["1\n"], 0]);
    await terminal.notice("stderr does not wait for stdout");
    expect(seen.stderr).toContain("does not wait");
    gates.shift()!();
    await settle();
    expect([writes, taken]).toEqual([["1\n", "2\n3\n"], 1]);
    gates.shift()!();
    await settle();
    expect(taken).toBe(3);
  });

  it("onBroken: told once; stdout is dropped from then on, stderr goes on, nothing rejects", async () => {
    const broken: Error[] = [];
    let attempts = 0;
    const stdout = async () => {
      attempts++;
      throw Object.assign(new Error("EPIPE: broken pipe, write"), { code: "EPIPE" });
    };
    const { terminal, seen } = fake({ tty: false, stdout, onBroken: (error) => broken.push(error) });
    for (let i = 0; i < 5; i++) await terminal.driver("stdout", bytes("x\n"));
    await terminal.notice("still here");
    await terminal.end();
    expect(broken.map((error) => error.message)).toEqual(["EPIPE: broken pipe, write"]);
    expect(attempts).toBe(1);
    expect(seen.stderr).toBe("mesh: still here\n");
  });
});

describe("progressLine (F87)", () => {
  const cases: [Progress, number, string][] = [
    [state, 80, "squares [##--------------------------] 1/10 10% 5.0/s ETA 2s 2 running"],
    [{ ...state, done: 10, running: 0 }, 60, "squares [######################] 10/10 100% 5.0/s 0 running"],
    [{ ...state, failed: 3 }, 40, "squares 1/10 10% 5.0/s ETA 2s 3 failed"],
    [state, 24, "squares 1/10 10% ETA 2s"],
    [state, 10, "1/10 10%"],
    [state, 5, "1/10"],
    [state, 3, "1/"],
    [state, 1, ""],
    [{ label: "lines", done: 12_345, running: 2, ratePerS: 678.9 }, 80, "lines 12345 done 679/s 2 running"],
    [{ ...state, ratePerS: 0 }, 30, "squares 1/10 10% 2 running"],
    [{ ...state, total: 1_000, ratePerS: 0.1 }, 44, "squares 1/1000 0% 0.1/s ETA 2h46m 2 running"],
    [{ ...state, label: "a\nb\x1b[2J" }, 34, "a b [2J 1/10 10% 5.0/s ETA 2s"],
    [{ label: "none", done: 0, total: 0, running: 0, ratePerS: 0 }, 22, "none 0/0 0% 0 running"],
  ];
  it.each(cases)("%o in %i columns", (progress, columns, line) => {
    expect(progressLine(progress, columns)).toBe(line);
  });

  it("is never as wide as the terminal", () => {
    const count = fc.nat(10_000_000);
    const progress = fc.record({
      label: fc.string({ unit: "grapheme" }),
      done: count,
      total: count,
      running: count,
      failed: count,
      ratePerS: fc.double({ min: 0, max: 1e9, noNaN: true }),
    });
    fc.assert(
      fc.property(progress, fc.integer({ min: 1, max: 200 }), (any, columns) => {
        expect(Bun.stringWidth(progressLine(any, columns))).toBeLessThan(columns);
      }),
    );
  });
});

describe("terminalOfProcess, real outputs", () => {
  const print = [process.execPath, join(import.meta.dirname, "../fixtures/worker/print.ts")];
  const shown = `${print[0]} ${print[1]}`;

  function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
    const folder = mkdtempSync(join(tmpdir(), "mesh-terminal-"));
    return run(folder).finally(() => rmSync(folder, { recursive: true }));
  }

  it("pipes: calm lines, byte exact", async () => {
    const program = Bun.spawn([...print, "mixed"], { stdout: "pipe", stderr: "pipe" });
    const [stdout, stderr] = await Promise.all([allOf(program.stdout), allOf(program.stderr)]);
    expect(stdout).toBe("begin\none\ntwo\nend without newline");
    expect(stderr).toBe("three\nmesh: done soon\n");
  });

  it("a slow reader gets all of it, while the printer's timers go on", () =>
    inFolder(async (folder) => {
      const REPORT = join(folder, "report");
      const slow = Bun.spawn(["sh", "-c", `${shown} large | (sleep 0.3; md5sum)`], { env: { ...process.env, REPORT } });
      const expected = new Bun.CryptoHasher("md5");
      for (let i = 0; i < 5; i++) expected.update(new Uint8Array(1_000_000).fill(97 + i));
      expect(await allOf(slow.stdout)).toContain(expected.digest("hex"));
      expect(JSON.parse(readFileSync(REPORT, "utf8")).ticks).toBeGreaterThan(5);
    }));

  it("a reader that goes away breaks stdout once, and the program goes on to its end", () =>
    inFolder(async (folder) => {
      const REPORT = join(folder, "report");
      const program = Bun.spawn(["sh", "-c", `${shown} endless | head -n 1`], {
        env: { ...process.env, REPORT },
        stderr: "pipe",
      });
      expect(await allOf(program.stdout)).toBe("line 0\n");
      expect(await allOf(program.stderr)).toBe("mesh: still here\n");
      await until(() => Bun.file(REPORT).size > 0, { what: "the report" });
      expect(JSON.parse(readFileSync(REPORT, "utf8")).broken).toEqual(["EPIPE"]);
    }));

  it("a file opened for appending keeps what it had; stdout and stderr share it in order", () =>
    inFolder(async (folder) => {
      const path = join(folder, "log");
      writeFileSync(path, "before\n");
      const file = openSync(path, "a");
      await Bun.spawn([...print, "mixed"], { stdout: file, stderr: file }).exited;
      closeSync(file);
      const expected = "before\nbegin\none\ntwo\nthree\nmesh: done soon\nend without newline";
      expect(readFileSync(path, "utf8")).toBe(expected);
    }));

  it("a file opened for appending gets large and empty writes in their place", () =>
    inFolder(async (folder) => {
      const path = join(folder, "log");
      writeFileSync(path, "before\n");
      const file = openSync(path, "a");
      await Bun.spawn([...print, "large"], { stdout: file }).exited;
      closeSync(file);
      const log = readFileSync(path);
      expect(log.length).toBe(7 + 5_000_000);
      expect(log.toString("latin1", 0, 10)).toBe("before\naaa");
      expect(log.toString("latin1", log.length - 3)).toBe("eee");
    }));

  async function onPty(name: string, cols: number): Promise<string> {
    const decoder = new TextDecoder();
    let output = "";
    const program = Bun.spawn([...print, name], {
      env: { ...process.env, TERM: "xterm-256color", NO_COLOR: "1" },
      terminal: {
        cols,
        rows: 24,
        data: (_terminal, data) => {
          output += decoder.decode(data, { stream: true });
        },
      },
    });
    await program.exited;
    await until(() => output.endsWith(SHOW_CURSOR), { what: "the last bytes" });
    program.terminal?.close();
    return output;
  }

  it("a pseudo terminal: labels, a bar that leaves nothing behind", async () => {
    const output = await onPty("mixed", 80);
    expect(output).toContain("squares [");
    expect(screenOf(output)).toEqual([
      "begin",
      "[here/1] one",
      "[here/1] two",
      "[here/2] three",
      "mesh: done soon",
      "end without newline",
    ]);
  });

  it("a pseudo terminal: never wider than it is, 80 where it says 0", async () => {
    for (const [cols, width] of [
      [30, 30],
      [0, 80],
    ] as const) {
      const output = await onPty("columns", cols);
      const drawn = output.split(ERASE).map((line) => Bun.stringWidth(line.replace(SHOW_CURSOR, "")));
      expect(Math.max(...drawn)).toBeLessThan(width);
      expect(Math.max(...drawn)).toBeGreaterThan(10);
    }
  });

  it.skipIf(!Bun.which("script"))("under script(1): the bar is on the terminal although stdout is a file", () =>
    inFolder(async (folder) => {
      const path = join(folder, "out");
      const env = { ...process.env, TERM: "xterm", NO_COLOR: "1" };
      const program = Bun.spawn(["script", "-qec", `${shown} mixed > ${path}`, "/dev/null"], { env, stdin: "ignore" });
      const output = await allOf(program.stdout);
      expect(readFileSync(path, "utf8")).toBe("begin\none\ntwo\nend without newline");
      expect(output).toContain("squares [");
      expect(screenOf(output)).toEqual(["[here/2] three", "mesh: done soon", ""]);
    }),
  );
});
