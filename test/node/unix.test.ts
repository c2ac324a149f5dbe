// Nodes over real Unix sockets, in one process and in several.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { Node } from "../../core/node/node.ts";
import type { Link } from "../../core/transport.ts";
import { PROTOCOL_VERSION } from "../../core/wire/message-types.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { until } from "../support/until.ts";
import { A, B, C, helloFrame, nodeAt, settled, TEST_TYPE } from "./support.ts";

const transport = new UnixTransport();

/** A node that listens, and where; all ends with the test. */
async function listening(node: Node) {
  const folder = mkdtempSync(join(tmpdir(), "mesh-node-"));
  const path = join(folder, "n.sock");
  let joined = Promise.withResolvers<void>();
  const listener = await transport.listen(path, (link) => node.accept(link, () => joined.resolve()));
  return {
    path,
    /** Resolves when the next peer has said hello. */
    async next(): Promise<void> {
      await joined.promise;
      joined = Promise.withResolvers();
    },
    async [Symbol.asyncDispose]() {
      node.close();
      await listener.close();
      rmSync(folder, { recursive: true });
    },
  };
}

it("Node over Unix sockets: requests, errors and forwarding through a middle node", async () => {
  const [a, middle, c] = [nodeAt(A), nodeAt(B), nodeAt(C)];
  await using server = await listening(middle);
  a.join(await transport.dial(server.path), B, true);
  await server.next();
  c.join(await transport.dial(server.path), B, true);
  await server.next();
  c.handleRequest(TEST_TYPE, (n: number) => {
    if (n < 0) throw new RangeError("negative");
    return Math.sqrt(n);
  });
  expect(await Promise.all([a.request(C, TEST_TYPE, 4), a.request(C, TEST_TYPE, 9)])).toEqual([2, 3]);
  await expect(a.request(C, TEST_TYPE, -1)).rejects.toThrow(RangeError);
  await expect(a.request({ node: 2, slot: 9 }, TEST_TYPE, 1)).rejects.toMatchObject({ code: "UNREACHABLE" });
});

it("Node over Unix sockets: 50 MB in pieces, and another sender's requests are answered meanwhile", async () => {
  const [a, b, c] = [nodeAt(A), nodeAt(B), nodeAt(C)];
  await using server = await listening(b);
  a.join(await transport.dial(server.path), B);
  await server.next();
  c.join(await transport.dial(server.path), B);
  await server.next();
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  let hasCome = false;
  b.handle(TEST_TYPE, (message) => {
    hasCome = true;
    resolve(new Uint8Array(message.payload));
  });
  b.handleRequest(TEST_TYPE + 1, (n: number) => [n, hasCome]);
  const payload = new Uint8Array(50 * 1024 * 1024 + 7);
  for (let i = 0; i < payload.length; i += 4_099) payload[i] = i;
  expect(a.send(B, TEST_TYPE, 0, 0, payload)).toBe(false);
  expect(await c.request(B, TEST_TYPE + 1, 1)).toEqual([1, false]);
  expect(Buffer.compare(await promise, payload)).toBe(0);
});

it("Node over Unix sockets: another version is refused in words that arrive", async () => {
  const b = nodeAt(B);
  await using server = await listening(b);
  const link: Link = await transport.dial(server.path);
  const a = nodeAt(A);
  const lost = new Promise<Error | undefined>((resolve) => {
    a.onPeerLost = (_peer, error) => resolve(error);
  });
  // The node's own hello comes second: the first decides.
  link.send(helloFrame(A, B, 77));
  a.join(link, B);
  const error = await lost;
  expect(error).toMatchObject({ code: "PROTOCOL" });
  expect(error?.message).toContain(`it speaks protocol 77, this build ${PROTOCOL_VERSION}`);
});

it("Node over Unix sockets: a peer that is killed fails what it was asked, and is told lost", async () => {
  const b = nodeAt(B);
  const lost = new Promise((resolve) => {
    b.onPeerLost = (peer) => resolve(peer);
  });
  await using server = await listening(b);
  await using child = startChild(server.path, "wait");
  await server.next();
  const asked = b.request(A, TEST_TYPE, 1);
  child.kill("SIGKILL");
  await expect(asked).rejects.toMatchObject({ code: "LINK_CLOSED" });
  expect(await lost).toEqual(A);
});

it.each([
  ["a node that holds nothing lets its process end, with its link open", "end"],
  ["a node that was asked keeps its process until the answer came, then it ends by itself", "ask"],
  ["a node that is held and released twice ends after the second release", "hold"],
])("Node over Unix sockets: %s", async (_name, mode) => {
  const b = nodeAt(B);
  const gate = Promise.withResolvers<string>();
  const order: string[] = [];
  b.handleRequest(TEST_TYPE, (body: string) => {
    order.push(body);
    return body === "question" ? gate.promise : undefined;
  });
  await using server = await listening(b);
  await using child = startChild(server.path, mode);
  if (mode === "ask") {
    await server.next();
    // It waits for us: the process must still be there when it is asked.
    expect(await b.request(A, TEST_TYPE, "still there?")).toBe("yes");
    expect(child.exitCode).toBeNull();
    gate.resolve("answer");
  }
  if (mode === "hold") {
    await until(() => order.includes("held"), { what: "the child to say that it holds" });
    await settled(200); // a process that nothing keeps is gone by now
    await b.request(A, TEST_TYPE, "end");
  }
  expect(await child.exited).toBe(0);
  expect(await new Response(child.stdout as ReadableStream).text()).toBe(`${mode} over\n`);
});

/** A process with a node that dials `path`; it ends by itself or not at all. */
function startChild(path: string, mode: string) {
  const script = join(import.meta.dirname, "child.ts");
  return Bun.spawn([process.execPath, script, path, mode], { stdio: ["ignore", "pipe", "inherit"] });
}
