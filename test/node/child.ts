// A process with one node, for tests of what keeps it running: argv is the path to dial and what to do.
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { A, B, nodeAt, TEST_TYPE } from "./support.ts";

const [path, mode] = process.argv.slice(2);
const node = nodeAt(A);
node.join(await new UnixTransport().dial(path!), B);
node.handleRequest(TEST_TYPE, () => (mode === "wait" ? new Promise(() => {}) : "yes"));

if (mode === "wait") node.hold();
if (mode === "ask") {
  const answer = await node.request(B, TEST_TYPE, "question");
  if (answer !== "answer") process.exit(3);
}
if (mode === "hold") {
  node.hold();
  node.hold();
  node.release();
  // Nothing but the hold that is left keeps the process until somebody asks it: a top-level await would as well.
  node.handleRequest(TEST_TYPE, () => queueMicrotask(() => node.release()));
  node.notify(B, TEST_TYPE, "held");
}
process.on("exit", () => console.log(`${mode} over`));
