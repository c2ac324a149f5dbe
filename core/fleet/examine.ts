// Looks at many hosts at once, each by its provider. One that hangs or breaks hides none of the others.
import { limited } from "../bootstrap/limited.ts";
import type { Status } from "../coordinator/answers.ts";
import type { ExamineContext, Finding } from "../provider.ts";
import { type FleetOptions, inParallel, meshErrorOf } from "./fleet.ts";
import type { FleetHost } from "./hosts.ts";

export interface Examination {
  host: FleetHost;
  findings: Finding[];
}

export interface ExamineOptions extends Pick<FleetOptions, "hosts" | "provider" | "parallel" | "progress"> {
  context: Omit<ExamineContext, "progress" | "goals">;
  /** What that host's worker has to reach. */
  goals(host: FleetHost): ExamineContext["goals"];
}

/** What a host's worker has to reach: the coordinator, and the workers of `others`. Nothing when the mesh is not up. */
export function goalsOf(
  host: FleetHost,
  status: Status | undefined,
  others: readonly FleetHost[],
): ExamineContext["goals"] {
  if (!status) return [];
  const wanted = new Set(others.map(({ name }) => name).filter((name) => name !== host.name));
  const workers = status.nodes.filter(
    ({ name, role, state }) => role === "worker" && state === "up" && wanted.has(name),
  );
  return [
    { what: "the coordinator", addresses: fromElsewhere(status.mesh.coordinator.addresses) },
    ...workers.map(({ name, addresses }) => ({ what: name, addresses: fromElsewhere(addresses) })),
  ];
}

/** Without those that mean this machine on every machine, if there are others. */
function fromElsewhere(addresses: string[]): string[] {
  const others = addresses.filter((address) => !/\/\/(127\.|\[::1\])/.test(address));
  return others.length > 0 ? others : addresses;
}

/** What a provider takes, at the most: logins that are dropped and tried again, and many goals. */
const EXAMINATION_LIMIT_MS = 180_000;
/** For its way out, after its signal. */
const ENDING_MS = 10_000;

/** In the order of the hosts. Never rejects: what a provider throws is a finding. */
export async function examineHosts(options: ExamineOptions): Promise<Examination[]> {
  return await inParallel(options.hosts, options.parallel, async (host) => ({
    host,
    findings: await examine(host, options),
  }));
}

async function examine(host: FleetHost, { provider, context, goals, progress }: ExamineOptions): Promise<Finding[]> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(EXAMINATION_LIMIT_MS)]);
  try {
    const own = { ...context, signal, goals: goals(host), progress: (text: string) => progress(host, text) };
    const asked = provider(host.provider).examine?.(host, own);
    if (!asked) {
      const words = `the provider ${host.provider} looks at nothing beforehand`;
      return [{ check: "host", state: "skipped", words }];
    }
    return await limited(asked, { ms: EXAMINATION_LIMIT_MS + ENDING_MS, what: `the examination of ${host.name}` });
  } catch (error) {
    const { message, code } = meshErrorOf(error, host);
    return [{ check: "host", state: "problem", words: message, code }];
  }
}
