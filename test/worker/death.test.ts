import { expect, it } from "vitest";
import { causeOf, type Death, describeDeath } from "../../core/worker/death.ts";

const MIB = 1024 * 1024;

const sentences: [Death, string][] = [
  [{ kind: "exit", code: 3 }, "exited with code 3"],
  [{ kind: "exit", code: 0 }, "exited with code 0"],
  [{ kind: "signal", signal: "SIGSEGV" }, "was ended by SIGSEGV (a crash in native code or the runtime)"],
  [{ kind: "signal", signal: "SIGKILL" }, "was ended by SIGKILL (not sent by mesh)"],
  [{ kind: "signal", signal: "SIGXCPU" }, "was ended by SIGXCPU (over a limit of the system, see ulimit -a)"],
  [
    { kind: "out-of-memory", by: "mesh", usedBytes: 530 * MIB, limitBytes: 512 * MIB },
    "ran out of memory: used 530 MiB of its limit of 512 MiB",
  ],
  [
    { kind: "out-of-memory", by: "mesh", usedBytes: 512 * MIB + 1, limitBytes: 512 * MIB },
    "ran out of memory: used 513 MiB of its limit of 512 MiB",
  ],
  [
    { kind: "out-of-memory", by: "mesh", usedBytes: 16_400 * MIB, limitBytes: 16_384 * MIB },
    "ran out of memory: used 16.1 GiB of its limit of 16 GiB",
  ],
  [{ kind: "out-of-memory", by: "mesh", limitBytes: MIB }, "ran out of memory: it passed its limit of 1 MiB"],
  [{ kind: "out-of-memory", by: "mesh" }, "ran out of memory: it passed its limit"],
  [{ kind: "out-of-memory", by: "kernel" }, "ran out of memory: the kernel of its host had none left and ended it"],
  [{ kind: "timeout", limitMs: 1_500 }, "was ended because it ran longer than its limit of 1.5 s"],
  [{ kind: "timeout", limitMs: 250 }, "was ended because it ran longer than its limit of 250 ms"],
  [{ kind: "killed", reason: "mesh kill 7" }, "was killed: mesh kill 7"],
  [{ kind: "protocol", reason: "bad frame" }, "was ended because it broke the protocol: bad frame"],
  [{ kind: "host-lost" }, "is lost: its host no longer answers"],
];

it.each(sentences)("describeDeath (F84): %o", (death, sentence) => {
  expect(describeDeath(death)).toBe(sentence);
});

const grown = { before: 4, after: 5 };
const same = { before: 4, after: 4 };
const timeout: Death = { kind: "timeout", limitMs: 10 };

const causes: [string, Parameters<typeof causeOf>[0], Death][] = [
  ["an exit code", { exitCode: 3, signalCode: null }, { kind: "exit", code: 3 }],
  ["a signal", { exitCode: null, signalCode: "SIGSEGV" }, { kind: "signal", signal: "SIGSEGV" }],
  ["our own order", { exitCode: null, signalCode: "SIGKILL", ordered: timeout, kernelOomKills: grown }, timeout],
  ["our own order, obeyed by a clean exit", { exitCode: 0, signalCode: null, ordered: timeout }, timeout],
  [
    "SIGKILL and a grown counter",
    { exitCode: null, signalCode: "SIGKILL", kernelOomKills: grown },
    { kind: "out-of-memory", by: "kernel" },
  ],
  [
    "SIGKILL and the same counter",
    { exitCode: null, signalCode: "SIGKILL", kernelOomKills: same },
    { kind: "signal", signal: "SIGKILL" },
  ],
  [
    "SIGKILL and a counter that was not there before",
    { exitCode: null, signalCode: "SIGKILL", kernelOomKills: { before: undefined, after: 2 } },
    { kind: "signal", signal: "SIGKILL" },
  ],
  [
    "another signal and a grown counter",
    { exitCode: null, signalCode: "SIGTERM", kernelOomKills: grown },
    { kind: "signal", signal: "SIGTERM" },
  ],
  ["nothing known", { exitCode: null, signalCode: null }, { kind: "killed", reason: "its exit status was lost" }],
];

it.each(causes)("causeOf (F84): %s", (_name, ending, death) => {
  expect(causeOf(ending)).toEqual(death);
});
