// Somebody at the terminal who can answer questions; one question at a time, equal ones asked once.
import type { Person } from "../../core/provider.ts";
import type { Surroundings } from "../surroundings.ts";

/** Undefined where nobody can answer. `aside` makes room on the terminal while a question stands there. */
export function personAt(
  around: Surroundings,
  aside: <Value>(use: () => Promise<Value>) => Promise<Value>,
): Person | undefined {
  if (!around.canAsk) return undefined;
  const answers = new Map<string, Promise<unknown>>();
  let last: Promise<unknown> = Promise.resolve();
  const once = <Answer>(question: string, ask: () => Promise<Answer>): Promise<Answer> => {
    if (answers.has(question)) return answers.get(question) as Promise<Answer>;
    const answer = last.then(() => aside(ask));
    last = answer.catch(() => {});
    answers.set(question, answer);
    return answer;
  };
  return {
    confirm: (question) => once(question, () => around.confirm(question)),
    secret: (question) => once(question, () => askSecret(question)),
  };
}

async function askSecret(question: string): Promise<string | undefined> {
  const { password, isCancel } = await import("@clack/prompts");
  const answer = await password({ message: question, output: process.stderr });
  return isCancel(answer) || answer === "" ? undefined : answer;
}
