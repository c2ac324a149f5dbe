import { describe, expect, it } from "vitest";
import { outcomeLines, statusOfOutcomes } from "../../cmd/hosts/host-outcomes.ts";
import { HostRows } from "../../cmd/hosts/host-rows.ts";
import { personAt } from "../../cmd/hosts/person.ts";
import { MeshError } from "../../core/errors.ts";
import type { HostOutcome } from "../../core/fleet/fleet.ts";
import { hostOf } from "../../core/fleet/hosts.ts";
import { around, ESC, FakeMesh, Screen, type Setting } from "./fake-mesh.ts";

const HOSTS = ["gpu1", "gpu10"];

function shown(setting: Setting) {
  const [mesh, screen] = [new FakeMesh(), new Screen()];
  const surroundings = around(mesh, screen, setting);
  return { screen, surroundings, rows: new HostRows(surroundings, HOSTS), redraw: () => mesh.clock.advance(100) };
}

/** What a terminal shows after these bytes: cursor up and erase below are all they use. */
function terminal(text: string): string[] {
  const lines = [""];
  let at = 0;
  for (const part of text.split(new RegExp(`(${ESC}\\[\\d*[AJ]|\n)`))) {
    if (part.startsWith(ESC) && part.endsWith("A")) at -= Number.parseInt(part.slice(2), 10);
    else if (part === `${ESC}[J`) lines.splice(at, lines.length, "");
    else if (part === "\n") lines[++at] ??= "";
    else lines[at] += part;
  }
  return lines.slice(0, at);
}

describe("HostRows", () => {
  it("F87 on a terminal each host has a row that changes in its place, below what is said for good", async () => {
    const { rows, screen, redraw } = shown({ tty: true, columns: 40, rows: 10 });
    rows.tell("gpu1", "logging in");
    redraw();
    rows.say("packing the binary");
    rows.tell("gpu10", `failed: ${"x".repeat(60)}`);
    redraw();
    await rows.settled;
    expect(terminal(screen.stderr)).toEqual([
      "mesh: packing the binary",
      "gpu1   logging in",
      expect.stringMatching(/^gpu10 {2}failed: x+\.\.\.$/),
    ]);
    expect(Math.max(...terminal(screen.stderr).map((line) => line.length))).toBeLessThan(40);
    await rows[Symbol.asyncDispose]();
    expect(terminal(screen.stderr)).toEqual(["mesh: packing the binary"]);
  });

  it("F87 elsewhere it writes a line for each step, and none that only counts on", async () => {
    const { rows, screen } = shown({});
    for (const text of ["sending 1.0 of 56 MB", "sending 20 of 56 MB", "checking", "checking"]) rows.tell("gpu1", text);
    await rows[Symbol.asyncDispose]();
    expect(screen.stderr).toBe("[gpu1] sending 1.0 of 56 MB\n[gpu1] checking\n");
  });

  it("a question has the terminal for itself, and equal ones are asked once", async () => {
    const { rows, screen, surroundings, redraw } = shown({ tty: true, columns: 40, rows: 10, answer: true });
    rows.tell("gpu1", "logging in");
    redraw();
    const person = personAt(surroundings, (use) => rows.aside(use))!;
    const answers = await Promise.all([person.confirm("Trust gpu1?"), person.confirm("Trust gpu1?")]);
    expect([answers, screen.questions]).toEqual([[true, true], ["Trust gpu1?"]]);
    expect(terminal(screen.stderr)).toEqual(["gpu1   logging in", "gpu10  waiting"]);
  });

  it("nobody is asked where nobody can answer", () => {
    expect(personAt(shown({}).surroundings, (use) => use())).toBeUndefined();
  });
});

describe("outcomes of hosts", () => {
  const timing = { heartbeatMs: 1_000, suspectAfterMs: 3_000, downAfterMs: 10_000 };
  const of = (name: string, outcome: HostOutcome["outcome"], error?: MeshError): HostOutcome => ({
    host: hostOf({ name, provider: "ssh", ssh: name, tags: [] }, timing),
    outcome,
    sentBytes: 0,
    removed: [],
    ...(error && { error }),
  });
  const unreachable = new MeshError("UNREACHABLE", "nobody answers");

  it.each([
    [[undefined, undefined], 0],
    [[undefined, unreachable], 3],
    [[unreachable, unreachable], 5],
    [[new MeshError("AUTHENTICATION", "no key")], 4],
    [[unreachable, new MeshError("AUTHENTICATION", "no key")], 3],
  ])("F90 errors %j end with status %d", (errors, status) => {
    expect(statusOfOutcomes(errors.map((error) => (error ? { error } : {})))).toBe(status);
  });

  it("F90 every host has a line, and who failed is told in full below them", () => {
    const outcomes = [of("gpu10", "failed", unreachable), of("gpu2", "started")];
    const reasonFor = (_: unknown, error: MeshError) => error.message;
    expect(outcomeLines(outcomes, { reasonFor }, { width: undefined, colour: false })).toEqual([
      expect.stringMatching(/^HOST +OUTCOME/),
      expect.stringMatching(/^gpu2 +started/),
      expect.stringMatching(/^gpu10 +failed/),
      "gpu10 failed: nobody answers",
    ]);
  });
});
