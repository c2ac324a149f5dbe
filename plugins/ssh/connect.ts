// Logs in on a host over SSH, as the user's own ssh would: their settings, keys, known hosts and jump hosts.
import { MeshError } from "../../core/errors.ts";
import { attemptLogin, StrangeHostKey } from "./attempt.ts";
import { type Destination, parseDestination } from "./destination.ts";
import { Dialing } from "./dialing.ts";
import { describeKey, loadHostKeys, rememberHostKey } from "./host-keys.ts";
import { needsCertificate } from "./known-hosts.ts";
import { Login } from "./login.ts";
import { commandLine, findSsh } from "./read-settings.ts";
import { RefusedLogin } from "./refusal.ts";
import { findRoute, type Hop, routeName } from "./route.ts";
import type { Lease } from "./shared-jumps.ts";
import type { SshConnection, SshOptions } from "./ssh-connection.ts";
import { connectBySystem } from "./system-connection.ts";

const CONNECT_TIMEOUT_MS = 10_000;
const KEEP_ALIVE = { intervalMs: 15_000, count: 3 };

/**
 * Logs in on `destination` ("host", "user@host", "ssh://user@host:port", or an alias of ssh_config). Throws USAGE (a bad
 * destination), CONFIG (ssh_config), UNREACHABLE, AUTHENTICATION (host key, login), STORAGE (known_hosts), CANCELLED.
 */
export async function connectSsh(destination: string, options: SshOptions = {}): Promise<SshConnection> {
  return await new Way(withConfigFile(options)).connect(parseDestination(destination));
}

/** The hosts on the way to `destination` with the user's settings for each, itself last. Throws USAGE, CONFIG, CANCELLED. */
export function routeTo(destination: string, options: Pick<SshOptions, "configFile" | "signal"> = {}): Promise<Hop[]> {
  return findRoute(parseDestination(destination), withConfigFile(options));
}

function withConfigFile<Options extends Pick<SshOptions, "configFile">>(options: Options): Options {
  const configFile = options.configFile ?? (process.env.MESH_SSH_CONFIG || undefined);
  return { ...options, ...(configFile && { configFile }) };
}

class Way {
  readonly #options: SshOptions;
  readonly #dialing: Dialing;

  constructor(options: SshOptions) {
    this.#options = options;
    this.#dialing = options.dialing ?? new Dialing();
  }

  /** By ssh2, or by the system's ssh when the settings ask for what only that has, or it may know another way in. */
  async connect(destination: Destination): Promise<SshConnection> {
    const { route, needs } = await this.#dialing.prepare(async () => {
      const found = await findRoute(destination, this.#options);
      return { route: found, needs: await systemNeeds(found) };
    });
    if (needs.length > 0) return await this.#bySystem(route, needs);
    try {
      return await this.#dial(route, this.#options.signal);
    } catch (error) {
      if (!(error instanceof RefusedLogin) || error.forSystem.length === 0 || !findSsh()) throw error;
      return await this.#bySystem(route, error.forSystem, error);
    }
  }

  #bySystem(route: Hop[], needs: string[], refused?: RefusedLogin): Promise<SshConnection> {
    const { label, destination, settings } = route.at(-1)!;
    const login = () =>
      connectBySystem({ ...this.#options, destination, label, settings, needs, ...(refused && { refused }) });
    return this.#dialing.attempt(routeName(route), label, login, this.#options.signal);
  }

  async #dial(route: Hop[], signal: AbortSignal | undefined): Promise<SshConnection> {
    const jumps = route.slice(0, -1);
    const lease = jumps.length > 0 ? await this.#jump(jumps, signal) : undefined;
    try {
      const connection = await this.#logIn(route, lease, signal);
      if (lease) void connection.closed.then(() => lease.release());
      return connection;
    } catch (error) {
      lease?.release();
      throw error;
    }
  }

  #jump(route: Hop[], signal: AbortSignal | undefined): Promise<Lease> {
    const dial = (everybodysSignal: AbortSignal) => this.#dial(route, everybodysSignal);
    return this.#dialing.jumps.lease(routeName(route), dial, signal);
  }

  async #logIn(route: Hop[], lease: Lease | undefined, signal: AbortSignal | undefined): Promise<SshConnection> {
    const { label } = route.at(-1)!;
    for (let trusted: Buffer | undefined; ; ) {
      const attempt = () => this.#attempt(route, lease, trusted, signal);
      try {
        return await this.#dialing.attempt(routeName(route), label, attempt, signal);
      } catch (error) {
        if (!(error instanceof StrangeHostKey)) throw error;
        trusted = await this.#askAbout(error, signal);
      }
    }
  }

  async #attempt(
    route: Hop[],
    lease: Lease | undefined,
    trusted: Buffer | undefined,
    signal: AbortSignal | undefined,
  ): Promise<SshConnection> {
    const { label, settings, destination } = route.at(-1)!;
    const { person, acceptNewKeys = false, askPassword = false, configFile, connectTimeoutMs } = this.#options;
    const { keepAlive = settings.keepAlive ?? KEEP_ALIVE } = this.#options;
    // Late, because most commands never log in anywhere.
    const ssh2 = (await import("ssh2")).default;
    return await attemptLogin(ssh2, {
      label,
      command: commandLine(destination, configFile),
      settings,
      hostKeys: await loadHostKeys(settings),
      trusted,
      acceptNewKeys,
      login: new Login(ssh2, { settings, label, keyRing: this.#dialing.keyRing, person, askPassword }),
      ...(lease && { through: () => lease.connection.forwardOut({ host: settings.hostName, port: settings.port }) }),
      connectTimeoutMs: connectTimeoutMs ?? settings.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      keepAlive,
      ...(signal && { signal }),
    });
  }

  async #askAbout({ shown, refusal }: StrangeHostKey, signal: AbortSignal | undefined): Promise<Buffer> {
    const { person, asksAboutKeys = true } = this.#options;
    if (!person || !asksAboutKeys || shown.settings.keyPolicy === "refuse") throw refusal;
    const words = `${shown.label} with ${describeKey(shown.key)}`;
    if (!(await this.#dialing.trusts(person, words, signal))) {
      throw new MeshError("AUTHENTICATION", `${shown.label} was not trusted: it shows ${describeKey(shown.key)}`);
    }
    await rememberHostKey(shown.settings, shown.key);
    return shown.key;
  }
}

/** What the settings of the hosts on the way ask for and ssh2 lacks. */
export async function systemNeeds(route: Hop[]): Promise<string[]> {
  const needs = route.flatMap(({ settings }) => settings.needsSystem);
  const known = await Promise.all(route.map(({ settings }) => loadHostKeys(settings)));
  return known.some((keys) => needsCertificate(keys.known)) ? [...needs, "a host certificate"] : needs;
}
