// Workers on hosts that answer SSH: looks at the host, sends the binary if it is not there, and talks to it. One login for
// each host and call; on the host nothing but POSIX tools is needed.
import { installBinary, isInstalled, uploadBytes } from "../../core/bootstrap/install.ts";
import { planFrom } from "../../core/bootstrap/plan.ts";
import { probe } from "../../core/bootstrap/probe.ts";
import type { Shell } from "../../core/bootstrap/shell.ts";
import { megabytes } from "../../core/bootstrap/upload.ts";
import type {
  CoordinatorOrder,
  CoordinatorStarted,
  ExamineContext,
  Finding,
  FoundWorker,
  Plan,
  ProvidedHost,
  Provider,
  ProviderContext,
  Started,
  Stopped,
} from "../../core/provider.ts";
import { connectSsh } from "./connect.ts";
import { Dialing } from "./dialing.ts";
import { examineHost } from "./examine.ts";
import { anyBinary, talk, workersOn } from "./mesh-host.ts";
import type { SshOptions } from "./ssh-connection.ts";

export interface SshProviderOptions {
  acceptsNewKeys: boolean;
  asksPassword: boolean;
  parallel: number;
}

export class SshProvider implements Provider {
  readonly name = "ssh";
  readonly #options: SshProviderOptions;
  readonly #dialing: Dialing;

  constructor(options: SshProviderOptions) {
    this.#options = options;
    this.#dialing = new Dialing({ parallel: options.parallel });
  }

  async plan(host: ProvidedHost, context: ProviderContext): Promise<Plan> {
    await using shell = await this.#login(host, context);
    const facts = await probe(shell, context);
    const binary = await context.binary(facts.platform);
    const sends = isInstalled(facts, binary) ? undefined : `${megabytes(await uploadBytes(facts, binary))} MB`;
    return planFrom(host, await workersOn(shell, facts, host, context), context, sends);
  }

  async start(host: ProvidedHost, context: ProviderContext): Promise<Started> {
    await using shell = await this.#login(host, context);
    const { path, sentBytes } = await install(shell, context);
    const { mesh, build, progress } = context;
    const { name, worker } = host;
    progress(`starting a ${worker.role ?? "worker"}`);
    const order = { op: "start", meshName: mesh.name, meshId: mesh.id, name, build, worker } as const;
    const { outcome } = await talk(shell, path, order, host, context);
    return { outcome, sentBytes };
  }

  async startCoordinator(
    host: ProvidedHost,
    { user, ...settings }: CoordinatorOrder,
    context: ProviderContext,
  ): Promise<CoordinatorStarted> {
    const { build, mesh } = context;
    await using shell = await this.#login(host, context);
    const { path, sentBytes } = await install(shell, context);
    context.progress("starting the coordinator");
    const asker = { name: user.name, publicKey: Buffer.from(user.publicKey).toString("base64") };
    const order = { op: "coordinate", meshName: mesh.name, build, settings, user: asker } as const;
    const { outcome, joined } = await talk(shell, path, order, host, context);
    return { outcome, joined, sentBytes };
  }

  async list(host: ProvidedHost, context: ProviderContext): Promise<FoundWorker[]> {
    await using shell = await this.#login(host, context);
    return await workersOn(shell, await probe(shell, context), host, context);
  }

  async stop(
    host: ProvidedHost,
    { purge, graceMs }: { purge: boolean; graceMs: number },
    context: ProviderContext,
  ): Promise<Stopped> {
    await using shell = await this.#login(host, context);
    const path = await anyBinary(await probe(shell, context), context);
    if (path === undefined) return { outcome: "absent", removed: [] };
    const order = { op: "stop", meshName: context.mesh.name, name: host.name, graceMs, purge } as const;
    const { outcome, removed } = await talk(shell, path, order, host, context);
    return { outcome, removed };
  }

  examine(host: ProvidedHost, context: ExamineContext): Promise<Finding[]> {
    return examineHost(host, context, { ...this.#loginOptions(context), asksAboutKeys: false });
  }

  async close(): Promise<void> {}

  #login({ target }: ProvidedHost, context: ProviderContext): Promise<Shell> {
    context.progress("logging in");
    return connectSsh(target, this.#loginOptions(context));
  }

  #loginOptions({ signal, person }: ProviderContext): SshOptions {
    const { acceptsNewKeys: acceptNewKeys, asksPassword: askPassword } = this.#options;
    return { signal, acceptNewKeys, askPassword, dialing: this.#dialing, ...(person && { person }) };
  }
}

async function install(
  shell: Shell,
  { progress, signal, binary }: ProviderContext,
): Promise<{ path: string; sentBytes: number }> {
  progress("looking at it");
  const facts = await probe(shell, { signal });
  return await installBinary(shell, facts, await binary(facts.platform), { progress, signal });
}
