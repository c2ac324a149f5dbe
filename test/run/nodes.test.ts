// Who is in a mesh of one machine, asked by real scripts.
import { describe, expect, test } from "vitest";
import { resultOf } from "../support/mesh.ts";

const out = "const out = (value: unknown) => console.log(JSON.stringify(value));";

describe("nodes", () => {
  test("F14 locateNode finds this machine, from the script and from a task, and gives up on others", async () => {
    const script = `import { locateNode, nodes, pool } from "mesh"; ${out}
const [here] = await nodes();
const found = await locateNode("here");
const inTask = await pool().submit(async () => (await locateNode("here")).node);
const error = await locateNode("her", { timeoutMs: 50 }).catch((e) => [e.code, e.message]);
out([here!.name, here!.status, here!.tags, found.node === here!.node, inTask === here!.node, error]);`;
    expect(await resultOf(script, { args: ["--slots", "1"] })).toEqual([
      "here",
      "up",
      [],
      true,
      true,
      ["TIMEOUT", "no node her came within 50 ms; did you mean here? up are here"],
    ]);
  });

  test("F12 onNode does not keep a script from ending, locateNode does until it is over", async () => {
    const script = `import { locateNode, onNode } from "mesh"; ${out}
const stop = onNode(() => {});
stop();
onNode(() => {});
void locateNode("nobody", { timeoutMs: 300 }).catch((e) => out(e.code));`;
    expect(await resultOf(script, { limitMs: 5_000 })).toBe("TIMEOUT");
  });

  test("F12 F14 what is no name, listener or option is refused with the user's line", async () => {
    const script = `import { locateNode, onNode } from "mesh"; ${out}
const said: string[] = [];
for (const call of [() => locateNode(7 as never), () => locateNode("a", { timeout: 3 } as never), () => onNode("x" as never)]) {
  try { await call(); } catch (e) { said.push((e as Error).message + " " + /job\\.ts:\\d/.test((e as Error).stack!)); }
}
out(said);`;
    expect(await resultOf(script)).toEqual([
      "locateNode takes a name, not 7 true",
      "locateNode has no option timeout; it has timeoutMs, signal true",
      'onNode takes a function, not "x" true',
    ]);
  });
});
