import { describe, expect, it } from "vitest";
import * as revoke from "../../cmd/operate/revoke.ts";
import * as rotate from "../../cmd/operate/rotate.ts";
import * as token from "../../cmd/operate/token.ts";
import { MeshError } from "../../core/errors.ts";
import { type Answers, around, FakeMesh, NOW, nodeOf, run, Screen, statusOf } from "./fake-mesh.ts";

const SECRET = `mesh1.${"x".repeat(100)}`;

async function say(module: Parameters<typeof run>[0], line: string[], answers: Answers = {}) {
  const mesh = new FakeMesh({
    status: () => statusOf({ nodes: [nodeOf({ name: "gpu1" })] }),
    issueToken: () => ({ token: SECRET, expiresAt: NOW + 3_600_000 }),
    revoke: () => ({ version: 12 }),
    rotateCa: ({ overlapMs }) => ({ overlapUntil: overlapMs === 0 ? null : NOW + (overlapMs ?? 1_000) }),
    ...answers,
  });
  const screen = new Screen();
  const error = await run(module, line, around(mesh, screen)).then(
    () => undefined,
    (thrown: unknown) => thrown as MeshError,
  );
  expect(mesh.open).toBe(0);
  return { ...screen, error, asked: mesh.asked.filter(([name]) => name !== "status") };
}

describe("mesh token", () => {
  it("prints the token alone on stdout; what it is for, and how to use it, on stderr, without it", async () => {
    const { stdout, stderr, status, asked } = await say(token, ["token", "--role", "worker"]);
    expect({ stdout, status }).toEqual({ stdout: `${SECRET}\n`, status: 0 });
    expect(stderr.split("\n")).toEqual([
      "mesh: with this token one worker may join the mesh lab, once, until 2026-01-02 16:04:05 (1h00m)",
      "mesh: whoever has it can join: keep it secret, and never put it on a command line",
      "mesh: on the machine that joins, with the token in MESH_TOKEN or a --token-file: mesh worker --join tcp://10.0.0.2:7450",
      "",
    ]);
    expect(stderr).not.toContain(SECRET);
    expect(asked).toEqual([["issueToken", { role: "worker" }]]);
  });

  it("binds it to a name, a role and a time", async () => {
    const { stderr, asked } = await say(token, ["token", "--role", "head", "--name", "alice", "--ttl", "10m"]);
    expect(asked).toEqual([["issueToken", { role: "head", name: "alice", ttlMs: 600_000 }]]);
    expect(stderr).toContain("the head alice may join");
    expect(stderr).toContain("mesh join tcp://10.0.0.2:7450 --name alice");
  });

  it("is printed even when the coordinator's address is not to be had", async () => {
    const status = () => {
      throw new MeshError("TIMEOUT", "busy");
    };
    const { stdout, stderr } = await say(token, ["token", "--role", "worker"], { status });
    expect(stdout).toBe(`${SECRET}\n`);
    expect(stderr).toContain("mesh worker --join ADDRESS\n");
  });

  it("--json (F87)", async () => {
    const { stdout, stderr } = await say(token, ["token", "--role", "worker", "--name", "gpu1", "--json"]);
    expect(JSON.parse(stdout)).toEqual({ token: SECRET, role: "worker", name: "gpu1", expiresAt: NOW + 3_600_000 });
    expect(stderr).toBe("");
  });

  it.each([
    [[], "required option '--role <role>' not specified"],
    [["--role", "coordinator"], "Allowed choices are worker, head, rendezvous"],
    [["--role", "client"], "Allowed choices are worker, head, rendezvous"],
    [["--role", "worker", "--ttl", "0"], "expected a time"],
    [["--role", "worker", "--name", "../x"], "A name has"],
    [["--role", "worker", "--tll", "1h"], "Did you mean --ttl?"],
  ])("%j is a usage error (F88), and makes no token", async (line, told) => {
    const { error, asked } = await say(token, ["token", ...line]);
    expect(error!.message).toContain(told);
    expect(asked).toEqual([]);
  });
});

describe("mesh revoke", () => {
  it("revokes a node by its name, and says what that means", async () => {
    const { stdout, stderr, status, asked } = await say(revoke, ["revoke", "gpu1"]);
    expect({ stderr, status }).toEqual({ stderr: "", status: 0 });
    expect(stdout).toBe("gpu1 is revoked: its sessions end, and it joins again only with a new token (`mesh token`)\n");
    expect(asked).toEqual([["revoke", { name: "gpu1" }]]);
  });

  it("a node that is away is revoked, with a word about a name that may be a slip (F88)", async () => {
    const { stderr, asked } = await say(revoke, ["revoke", "gpu2"]);
    expect(stderr).toBe("mesh: no node named gpu2 is in the mesh now, did you mean gpu1?\n");
    expect(asked).toEqual([["revoke", { name: "gpu2" }]]);
  });

  it("the coordinator, or no name at all, is refused", async () => {
    for (const [name, told] of [
      ["coordinator", "`mesh rotate`"],
      ["a b", "cannot be the name of a node"],
    ] as const) {
      const { error, asked } = await say(revoke, ["revoke", name]);
      expect(error).toMatchObject({ code: "USAGE" });
      expect(error!.message).toContain(told);
      expect(asked).toEqual([]);
    }
  });

  it("--json (F87)", async () => {
    expect(JSON.parse((await say(revoke, ["revoke", "gpu1", "--json"])).stdout)).toEqual({ name: "gpu1", version: 12 });
  });
});

describe("mesh rotate", () => {
  it("says until when the old CA is trusted", async () => {
    const { stdout, status, asked } = await say(rotate, ["rotate", "--overlap", "1h"]);
    expect(stdout).toBe(
      "the mesh lab has a new CA; the old one is trusted until 2026-01-02 16:04:05, nodes renew by themselves before\n",
    );
    expect(status).toBe(0);
    expect(asked).toEqual([["rotateCa", { overlapMs: 3_600_000 }]]);
    expect((await say(rotate, ["rotate"])).asked).toEqual([["rotateCa", {}]]);
  });

  it("--overlap 0 says that nobody is trusted by the old one; days may be many", async () => {
    const { stdout, asked } = await say(rotate, ["rotate", "--overlap", "0"]);
    expect(stdout).toContain("the old one is trusted no more");
    expect(asked).toEqual([["rotateCa", { overlapMs: 0 }]]);
    expect((await say(rotate, ["rotate", "--overlap", "365d"])).asked[0]![1]).toEqual({ overlapMs: 31_536_000_000 });
    expect((await say(rotate, ["rotate", "--overlap", "soon"])).error!.message).toContain("expected a time");
  });

  it("--json (F87)", async () => {
    const { stdout } = await say(rotate, ["rotate", "--overlap", "1h", "--json"]);
    expect(JSON.parse(stdout)).toEqual({ overlapUntil: NOW + 3_600_000 });
  });
});
