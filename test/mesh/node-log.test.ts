import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TestMesh } from "../support/test-mesh.ts";
import { until } from "../support/until.ts";

describe("F77: mesh logs of a worker", () => {
  it("prints what its own log has, its end, and what comes, and says where there is none", async () => {
    await using mesh = await TestMesh.start({ workers: { bare: 1 } });
    const log = mesh.folder.at("own.log");
    await using worker = mesh.command(["worker", "--name", "kept", "--slots", "1", "--listen", "tcp://127.0.0.1:0"], {
      through: ["sh", "-c", `exec "$@" 2>${log}`, "sh"],
      limitMs: 60_000,
    });
    await mesh.nodeIs("kept", (node) => node?.state === "up");
    const all = await mesh.mesh(["logs", "kept"]);
    expect([all.status, all.stderr]).toEqual([0, ""]);
    expect(all.stdout).toContain(" ready ");
    expect(readFileSync(log, "utf8").startsWith(all.stdout)).toBe(true);
    const { stdout: last } = await mesh.mesh(["logs", "kept", "-n", "1", "--json"]);
    expect(last.trim().split("\n")).toHaveLength(1);
    expect(JSON.parse(last)).toMatchObject({ host: "kept" });
    await using following = mesh.command(["logs", "-f", "kept", "--tail", "0"]);
    await until(
      async () => {
        expect((await mesh.mesh(["exec", "kept", "true"])).status).toBe(0);
        return following.stdout.includes("command begins");
      },
      { what: "what the worker logs to be printed" },
    );
    following.signal("SIGINT");
    expect((await following.ended()).status).toBe(130);
    const none = await mesh.mesh(["logs", "bare"]);
    expect([none.status, none.stderr]).toEqual([
      1,
      expect.stringContaining("bare: it keeps no log: it was started by hand"),
    ]);
    const refused = await mesh.mesh(["logs", "kept", "--slot", "1"]);
    expect([refused.status, refused.stderr]).toEqual([2, expect.stringContaining("kept is a node, no job")]);
    expect((await mesh.mesh(["logs", "coordinator"])).stderr).toContain("coordinator: it keeps no log");
    expect((await mesh.mesh(["logs", "nobody"])).stderr).toContain('there is no job "nobody"');
    worker.signal("SIGTERM");
    expect((await worker.ended()).status).toBe(0);
  });
});
