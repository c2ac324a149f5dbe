// A process that answers over pipes: `mesh run examples/pipe.ts [host]`. With no host it runs on this machine, or on
// whichever worker of the mesh is used least.
import { args, type Funnel, Process, pipe, type Spout, self } from "mesh";

const [question, questions] = pipe<string>();
const [answer, answers] = pipe<string>();

async function shout(input: Spout<string>, output: Funnel<string>): Promise<void> {
  for await (const text of input) await output.send(`${text.toUpperCase()}!`);
}

const [host] = args;
const echo = new Process(shout, { args: [questions, answer], ...(host !== undefined && { host }) });
await echo.start();
for (const text of ["hello", "pipes", "anywhere"]) {
  await question.send(text);
  console.log(`${self.node} sent ${text}, got ${await answers.receive({ timeoutMs: 10_000 })}`);
}
await question.close();
const { exitCode } = await echo.join();
console.log(`the process ended with ${exitCode}`);
