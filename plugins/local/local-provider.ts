// Workers on this machine, beside whoever runs `mesh up`: what `mesh host` does on other hosts, without a way there.
import { type HostAnswer, talkToHost } from "../../core/bootstrap/host-talk.ts";
import type { Order } from "../../core/bootstrap/host-words.ts";
import { planFrom } from "../../core/bootstrap/plan.ts";
import { spawnConversation } from "../../core/bootstrap/spawned.ts";
import type {
  FoundWorker,
  Plan,
  ProvidedHost,
  Provider,
  ProviderContext,
  Started,
  Stopped,
} from "../../core/provider.ts";

export class LocalProvider implements Provider {
  readonly name = "local";
  readonly #command: string[];

  constructor({ ownCommand }: { ownCommand(name: string): string[] }) {
    this.#command = ownCommand("host");
  }

  async plan(host: ProvidedHost, context: ProviderContext): Promise<Plan> {
    return planFrom(host, await this.list(host, context), context);
  }

  async start(host: ProvidedHost, context: ProviderContext): Promise<Started> {
    const { mesh, build } = context;
    const { name, worker } = host;
    const order = { op: "start", meshName: mesh.name, meshId: mesh.id, name, build, worker } as const;
    const { outcome } = await this.#talk(order, host, context);
    return { outcome, sentBytes: 0 };
  }

  async list(host: ProvidedHost, context: ProviderContext): Promise<FoundWorker[]> {
    return (await this.#talk({ op: "list", meshName: context.mesh.name }, host, context)).workers;
  }

  async stop(
    host: ProvidedHost,
    { purge, graceMs }: { purge: boolean; graceMs: number },
    context: ProviderContext,
  ): Promise<Stopped> {
    const order = { op: "stop", meshName: context.mesh.name, name: host.name, graceMs, purge } as const;
    const { outcome, removed } = await this.#talk(order, host, context);
    return { outcome, removed };
  }

  async close(): Promise<void> {}

  #talk<Op extends Order["op"]>(
    order: Extract<Order, { op: Op }>,
    { name }: ProvidedHost,
    { certify, progress, signal }: ProviderContext,
  ): Promise<HostAnswer<Op>> {
    const options = { label: name, certify: (publicKey: Uint8Array) => certify({ publicKey, name }), progress, signal };
    return talkToHost<Op>(spawnConversation(this.#command, { cwd: "/" }), order, options);
  }
}
