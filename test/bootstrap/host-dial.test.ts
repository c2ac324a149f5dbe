import { createServer } from "node:net";
import { expect, test } from "vitest";
import { talkToHost } from "../../core/bootstrap/host-talk.ts";
import { spawnConversation } from "../../core/bootstrap/spawned.ts";
import { binary } from "../support/mesh.ts";

test("mesh host: F98 F93 told to dial, it tells for each address whether it can be reached, and why not", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port: taken } = closed.address() as { port: number };
  await new Promise((resolve) => closed.close(resolve));
  try {
    const addresses = [`tcp://127.0.0.1:${port}`, `tcp://127.0.0.1:${taken}`, "tcp://nosuch.invalid:1", "nonsense"];
    const talk = { label: "host1", certify: () => Promise.reject(new Error("not asked for")) };
    const { outcomes } = await talkToHost(spawnConversation([binary, "host"]), { op: "dial", addresses }, talk);
    expect(outcomes.map(({ address }) => address)).toEqual(addresses);
    expect(outcomes[0]).toEqual({ address: addresses[0], tookMs: expect.any(Number) });
    expect(outcomes.slice(1).map(({ code }) => code)).toEqual([
      "ECONNREFUSED",
      expect.stringMatching(/ENOTFOUND|EAI/),
      "UNREACHABLE",
    ]);
  } finally {
    server.close();
  }
});
