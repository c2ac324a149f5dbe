// One machine of hosts.test.ts, in a network namespace of its own: announces a mesh, or looks for it. All but the times is as
// in production: real interfaces, real port. The configuration comes as JSON in argv, what happens goes out as lines of JSON.
import { systemClock } from "../../core/clock.ts";
import { startBeacon } from "../../core/discovery/announce.ts";
import { findMesh } from "../../core/discovery/find.ts";
import { type Credentials, identityFrom } from "../../core/identity/identity.ts";

export type HostTask =
  | { role: "announce"; credentials: Credentials; node: number; addresses: string[]; everyMs: number }
  | { role: "find"; meshId: string; pin: string; timeoutMs: number };

/** A line of its output. */
export interface HostLine {
  ready?: true;
  warning?: string;
  found?: { node: number; from: string; addresses: string[] };
  failed?: { code: string; message: string };
}

const say = (line: HostLine) => console.log(JSON.stringify(line));
const warn = (warning: string) => say({ warning });

async function announce({ credentials, node, addresses, everyMs }: HostTask & { role: "announce" }): Promise<void> {
  const identity = identityFrom(credentials);
  const common = { meshName: "lab", addresses: () => addresses, clock: systemClock, everyMs, warn };
  await startBeacon({ ...common, identity: () => identity, node });
  say({ ready: true });
}

async function find({ meshId, pin, timeoutMs }: HostTask & { role: "find" }): Promise<void> {
  const knownBy = { pin: Buffer.from(pin, "hex") };
  try {
    const { node, from, addresses } = await findMesh({ meshId, knownBy, clock: systemClock, timeoutMs, warn });
    say({ found: { node, from, addresses } });
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    say({ failed: { code, message } });
  }
}

const task = JSON.parse(process.argv[2] ?? "") as HostTask;
await (task.role === "announce" ? announce(task) : find(task));
