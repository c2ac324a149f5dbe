// Asks the system's ssh for the user's settings, where there is one.
import { homedir, hostname } from "node:os";
import { MeshError } from "../../core/errors.ts";
import { type Destination, nameOf } from "./destination.ts";
import { defaultSettings, type Place, parseSettings, type SshSettings } from "./settings.ts";

// Match exec of the user's file may ask a network.
const TIMEOUT_MS = 15_000;

/** The path of `ssh`; undefined where there is none. */
export function findSsh(): string | undefined {
  return Bun.which("ssh") ?? undefined;
}

/** The arguments of ssh that name a destination, with its end of options. */
export function destinationArgs({ host, user, port }: Destination): string[] {
  return [...(user === undefined ? [] : ["-l", user]), ...(port === undefined ? [] : ["-p", String(port)]), "--", host];
}

/** `-F FILE` where another file than the user's is to be read. */
export function configArgs(configFile: string | undefined): string[] {
  return configFile === undefined ? [] : ["-F", configFile];
}

/** A command line for people: "ssh -p 2222 alice@10.0.0.5". */
export function commandLine(destination: Destination, configFile: string | undefined): string {
  const port = destination.port === undefined ? [] : ["-p", destination.port];
  return ["ssh", ...configArgs(configFile), ...port, nameOf(destination)].join(" ");
}

/** The settings that ssh would use. Throws CONFIG when ssh cannot read its files, CANCELLED. */
export async function readSettings(
  destination: Destination,
  options: { configFile?: string; signal?: AbortSignal },
): Promise<SshSettings> {
  const ssh = findSsh();
  const place = placeFor(destination);
  if (!ssh) return defaultSettings(destination, place);
  if (options.signal?.aborted) throw givenUp(destination);
  const child = Bun.spawn([ssh, "-G", ...configArgs(options.configFile), ...destinationArgs(destination)], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
    ...(options.signal && { signal: options.signal }),
  });
  const [stdout, stderr, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (options.signal?.aborted) throw givenUp(destination);
  if (status === 0) return parseSettings(stdout, place);
  const why = stderr.trim() || (child.signalCode ? `it took longer than ${TIMEOUT_MS / 1000} s` : `status ${status}`);
  throw new MeshError("CONFIG", `ssh cannot read its settings for ${nameOf(destination)}: ${why}`);
}

function givenUp(destination: Destination): MeshError {
  return new MeshError("CANCELLED", `${nameOf(destination)} was given up`);
}

function placeFor({ host }: Destination): Place {
  const uid = process.getuid?.() ?? 0;
  return { host, home: homedir(), localUser: localUser(uid), uid, localHost: hostname(), env: process.env };
}

/** os.userInfo() of Bun says "unknown" where USER is not set. */
function localUser(uid: number): string {
  return process.env.USER || process.env.LOGNAME || (uid === 0 ? "root" : String(uid));
}
