// What an ssh-agent answers, also when it is none.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { listAgentKeys, parseIdentities } from "../../../plugins/ssh/agent.ts";

function answer(...keys: [blob: string, comment: string][]): Buffer {
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const part = (text: string) => Buffer.concat([number(Buffer.byteLength(text)), Buffer.from(text)]);
  return Buffer.concat([Buffer.from([12]), number(keys.length), ...keys.flat().map(part)]);
}

/** An agent that sends `bytes` to whoever calls. */
async function speaking<T>(bytes: Uint8Array, use: (socket: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "mesh-agent-"));
  const unix = join(folder, "socket");
  const server = Bun.listen({ unix, socket: { data: (socket) => void socket.end(bytes) } });
  try {
    return await use(unix);
  } finally {
    server.stop(true);
    rmSync(folder, { recursive: true });
  }
}

describe("parseIdentities", () => {
  test("keys and comments", () => {
    const keys = parseIdentities(answer(["one", "alice"], ["two", ""]));
    expect(keys.map(({ blob, comment }) => [String(blob), comment])).toEqual([
      ["one", "alice"],
      ["two", ""],
    ]);
  });

  test("a refusal and an empty message hold none", () => {
    for (const message of [Buffer.from([5]), Buffer.alloc(0), Buffer.from([12, 0, 0])])
      expect(parseIdentities(message)).toEqual([]);
  });

  test("a cut message yields what came before the cut, and noise never throws", () => {
    const whole = answer(["one", "alice"], ["two", "bob"]);
    for (let size = 0; size < whole.length; size++) {
      expect(parseIdentities(whole.subarray(0, size)).length).toBeLessThanOrEqual(1);
    }
    fc.assert(fc.property(fc.uint8Array(), (noise) => void parseIdentities(Buffer.concat([Buffer.from([12]), noise]))));
  });
});

describe("listAgentKeys", () => {
  const framed = (message: Buffer) => {
    const size = Buffer.alloc(4);
    size.writeUInt32BE(message.length);
    return Buffer.concat([size, message]);
  };

  test("an answer", async () => {
    const keys = await speaking(framed(answer(["one", "alice"])), listAgentKeys);
    expect(keys.map(({ comment }) => comment)).toEqual(["alice"]);
  });

  test("none there, one that hangs up, one whose answer never ends", async () => {
    await expect(listAgentKeys("/nowhere/agent")).rejects.toThrow();
    await expect(speaking(Buffer.from([0, 0]), listAgentKeys)).rejects.toThrow("hung up");
    await expect(speaking(Buffer.from([255, 255, 255, 255]), listAgentKeys)).rejects.toThrow("too long");
  });
});
