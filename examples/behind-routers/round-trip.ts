// Words go from here to node0, from there to node1, and back: `mesh run round-trip.ts`, beside the mesh.toml of this folder. Between here
// and the nodes they go through holes in both routers, between the nodes by the network they share.
import { type Funnel, Process, pipe, type Spout, self } from "mesh";

const WORDS = 50;
const [first, firstOut] = pipe<string>();
const [between, betweenOut] = pipe<string>();
const [last, lastOut] = pipe<string>();

async function pass(input: Spout<string>, output: Funnel<string>): Promise<void> {
  for await (const text of input) await output.send(`${text} ${self.node}`);
  await output.close();
}

const node0 = new Process(pass, { args: [firstOut, between], host: "node0" });
const node1 = new Process(pass, { args: [betweenOut, last], host: "node1" });
await Promise.all([node0.start(), node1.start()]);

for (let i = 0; i < WORDS; i++) {
  await first.send(`word ${i}`);
  console.log(await lastOut.receive({ timeoutMs: 10_000 }));
}
await first.close();
for (const node of [node0, node1]) {
  const { exitCode } = await node.join();
  if (exitCode !== 0) process.exitCode = 1;
}
