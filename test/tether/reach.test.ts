// F93: a tether is no way into its user's network.
import { connect, createServer } from "node:net";
import { expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { MeshError } from "../../core/errors.ts";
import { MeshReach, type ReachOptions } from "../../core/tether/reach.ts";

async function listening() {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    socket.on("error", () => {});
    socket.end("hello");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const count = () => connections;
  return { port, address: `tcp://127.0.0.1:${port}`, count, [Symbol.dispose]: () => void server.close() };
}

function reachOf(known: Record<string, string[]>, options: Partial<ReachOptions> = {}) {
  const asked = { times: 0 };
  const reach = new MeshReach({
    meshName: "m",
    known: async () => {
      asked.times++;
      return new Map(Object.entries(known));
    },
    prove: async () => {},
    resolve: async () => ["127.0.0.1"],
    clock: new ManualClock(),
    ...options,
  });
  return { asked, reach };
}

const nobody = () => undefined;

test("F93 MeshReach: an address that no node told is refused, and nothing is connected", async () => {
  using server = await listening();
  const { reach, asked } = reachOf({ "tcp://127.0.0.1:1": ["w1"] });
  await expect(reach.connect(server.address, nobody)).rejects.toMatchObject({ code: "AUTHENTICATION" });
  await expect(reach.connect(server.address, nobody)).rejects.toThrow("leads nowhere else");
  expect(server.count()).toBe(0);
  expect(asked.times).toBe(1); // the coordinator is not asked for each of them
});

test("F93 MeshReach: an address that a node told and that is none of a node's is refused", async () => {
  using server = await listening();
  const prove = async () => {
    throw new MeshError("AUTHENTICATION", "no trust in what answers");
  };
  const { reach } = reachOf({ [server.address]: ["evil"] }, { prove });
  await expect(reach.connect(server.address, nobody)).rejects.toThrow("no trust");
  expect(server.count()).toBe(0);
});

test("F93 MeshReach: what proved itself is connected, and need not prove it again soon", async () => {
  using server = await listening();
  const clock = new ManualClock();
  const proven: string[] = [];
  const prove = async (address: string) => void proven.push(address);
  const { reach } = reachOf({ [server.address]: ["w1"] }, { prove, clock });
  for (let i = 0; i < 2; i++) (await reach.connect(server.address, nobody)).destroy();
  expect(proven).toEqual([server.address]);
  clock.advance(61_000);
  (await reach.connect(server.address, nobody)).destroy();
  expect(proven.length).toBe(2);
});

test("F93 MeshReach: a name is looked up once: what is connected to is what proved itself", async () => {
  using server = await listening();
  const answers = [["127.0.0.1"], ["10.0.0.1"]];
  const proven: string[] = [];
  const { reach } = reachOf(
    { [`tcp://w1.example:${server.port}`]: ["w1"] },
    { prove: async (address) => void proven.push(address), resolve: async () => answers.shift()! },
  );
  const stream = await reach.connect(`tcp://w1.example:${server.port}`, nobody);
  expect(proven).toEqual([server.address]);
  expect(answers.length).toBe(1);
  stream.destroy();
});

test("F93 MeshReach: a node whose host is tethered too is reached by its own SSH connection", async () => {
  using server = await listening();
  const asked: unknown[] = [];
  const channel = {
    forwardOut: async (place: { host: string; port: number }) => {
      asked.push(place);
      return connect(server.port, "127.0.0.1");
    },
  };
  const { reach } = reachOf({ "tcp://10.9.9.9:7460": ["w2"] });
  const stream = await reach.connect("tcp://10.9.9.9:7460", (name) => (name === "w2" ? (channel as never) : undefined));
  expect(asked).toEqual([{ host: "10.9.9.9", port: 7460 }]);
  stream.destroy();
});

test("F93 MeshReach: a refusal is told as the system's", async () => {
  const server = await listening();
  server[Symbol.dispose]();
  const { reach } = reachOf({ [server.address]: ["w1"] });
  await expect(reach.connect(server.address, nobody)).rejects.toMatchObject({ code: "ECONNREFUSED" });
});
