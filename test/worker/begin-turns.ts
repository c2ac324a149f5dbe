// A slot that begins turns without pause, and says which it did not begin.
import { StatusPage } from "../../core/worker/status-page.ts";

const [path, turns] = [process.argv[2]!, Number(process.argv[3])];
const { begun } = StatusPage.open(path);
const owner = { node: 16, slot: 1 };
const skipped: number[] = [];
for (let turn = 0; turn < turns; turn++) {
  if (!begun.begin(owner, 0, turn)) skipped.push(turn);
  for (let spin = (turn * 7) % 50; spin > 0; spin--); // so that the other one meets it at all its steps
}
await Bun.write(Bun.stdout, JSON.stringify(skipped));
