// Strangers that try to join without a right to: tokens that are guessed, used before, or of another role.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { joinRequest } from "../../core/identity/join.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { formatToken, parseToken, type Token } from "../../core/identity/token.ts";
import { joinMesh } from "../../core/member/join.ts";
import { controlFrame } from "../../core/session/control-body.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { TcpTransport } from "../../transports/tcp/tcp-transport.ts";
import { TestMesh } from "../support/test-mesh.ts";
import { ByHand } from "./by-hand.ts";
import { areWell, victimsOf } from "./victims.ts";

const GUESSES = Number(process.env.MESH_GUESSES ?? 400);
const stranger = new TcpTransport({ credentials: () => undefined });

async function tokenFor(mesh: TestMesh, role: string): Promise<Token> {
  const { stdout, stderr } = await mesh.mesh(["token", "--role", role]);
  const line = stdout.trim().split("\n").at(-1)!;
  expect(line, stderr).not.toBe("");
  return parseToken(line);
}

test("X24 guessed tokens: each is refused, all they cost is bounded, and who has a right one joins meanwhile", {
  timeout: 60_000,
}, async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator, all } = await victimsOf(mesh);
  const right = await tokenFor(mesh, "worker");
  const stored = () => readFileSync(join(mesh.state, "tokens.json"), "utf8");
  const before = stored();
  const lines = () => coordinator.process.stderr.split("\n").length;
  const linesBefore = lines();
  for (const victim of all) victim.watch();
  const { publicKey } = createKeyPair();
  const guess = async (i: number) => {
    const client = await ByHand.dial(stranger, coordinator.address);
    await client.challenge();
    const secret = crypto.getRandomValues(new Uint8Array(right.secret.length));
    const request = joinRequest({ ...right, secret }, "worker", `guess-${i}`, publicKey);
    client.link.send(controlFrame(client.codec, MessageType.join, { ...request }));
    await client.over();
    return client.refusal?.code ?? "closed";
  };
  const codes: string[] = [];
  for (let i = 0; i < GUESSES; i += 20) {
    codes.push(...(await Promise.all(Array.from({ length: 20 }, (_, at) => guess(i + at)))));
  }
  expect(new Set(codes)).toEqual(new Set(["STRANGER"]));
  expect(stored()).toBe(before);
  expect(lines() - linesBefore).toBeLessThan(2 * 60 + 20);
  await mesh.startWorker("w2", ["--join", coordinator.address], { MESH_TOKEN: formatToken(right) });
  await areWell(mesh, all);
});

test("X24 a token used before or for another role, and a name that is taken: refused, with one line in the log for each", async () => {
  await using mesh = await TestMesh.start({ workers: { w1: 1 } });
  const { coordinator } = await victimsOf(mesh);
  const joining = (token: Token, role: "worker" | "head", name: string) =>
    joinMesh({ addresses: [coordinator.address], token, role, name, transport: stranger }).then(
      () => "joined",
      (error: Error & { code: string }) => `${error.code} ${error.message}`,
    );
  const used = await tokenFor(mesh, "worker");
  expect(await joining(used, "worker", "n1")).toBe("joined");
  expect(await joining(used, "worker", "n1")).toMatch(/AUTHENTICATION .*used before/);
  expect(await joining(used, "worker", "n2")).toMatch(/AUTHENTICATION .*used before/);
  expect(await joining(await tokenFor(mesh, "worker"), "head", "n3")).toMatch(
    /AUTHENTICATION .*for a worker, not for a head/,
  );
  expect(await joining(await tokenFor(mesh, "worker"), "worker", "w1")).toMatch(/w1 is in the mesh already/);
  const audit = coordinator.process.stderr.split("\n").filter((line) => line.includes("join-refused"));
  expect(audit.map((line) => /reason=("[^"]*"|\S+)/.exec(line)?.[1])).toEqual(["used", "used", '"other role"']);
});
