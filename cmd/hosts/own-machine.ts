// What of this machine `mesh up` and jobs need: mesh.toml, the state folder, the coordinator and its port, the clock, ssh.
import { existsSync } from "node:fs";
import { checkConfig, findConfig } from "../../core/config/mod.ts";
import { buildOf, type Status } from "../../core/coordinator/answers.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import { checkPrivateFolder } from "../../core/identity/private-files.ts";
import { stateFolderPath } from "../../core/identity/state-folder.ts";
import type { Finding } from "../../core/provider.ts";
import { tryDial, tryListen } from "../../transports/try-address.ts";
import { coordinatorListening, type MeshSettings } from "../mesh-settings.ts";
import { count } from "../operate/job-words.ts";
import { buildName } from "../roles/node-process.ts";

const DIAL_LIMIT_MS = 3_000;
/** A clock before it was never set: mesh is younger. */
const EARLIEST_MS = Date.UTC(2026, 0, 1);

export interface OwnMachine {
  /** Undefined when mesh.toml is wrong. */
  settings: MeshSettings | undefined;
  /** What the coordinator says; undefined when none is up, an error when it cannot be asked. */
  mesh: Status | MeshError | undefined;
  signal: AbortSignal;
}

export async function examineOwnMachine({ settings, mesh, signal }: OwnMachine): Promise<Finding[]> {
  const { examineSshHere } = await import("../../plugins/ssh/examine-here.ts");
  return [
    await configFinding(),
    ...(settings
      ? [stateFinding(settings.name), coordinatorFinding(settings, mesh), await portFinding(settings, mesh)]
      : []),
    clockFinding(Date.now()),
    ...(await examineSshHere(signal)),
  ];
}

async function configFinding(): Promise<Finding> {
  const check = "mesh.toml";
  const file = findConfig();
  if (file === undefined) return { check, state: "ok", words: "none here or above: every setting is at its default" };
  const result = await checkConfig(file);
  if ("config" in result) return { check, state: "ok", words: `${file}: ${count(result.config.hosts.length, "host")}` };
  return {
    check,
    state: "problem",
    words: result.text,
    fix: `correct ${file}; \`mesh config check\` looks at it again`,
    code: "CONFIG",
  };
}

function stateFinding(name: string): Finding {
  const check = "state folder";
  const folder = stateFolderPath(name);
  if (!existsSync(folder)) return { check, state: "ok", words: `${folder}: not there yet` };
  try {
    checkPrivateFolder(folder);
    return { check, state: "ok", words: `${folder}: this user's alone` };
  } catch (error) {
    if (!isMeshError(error)) throw error;
    return { check, state: "problem", words: error.message, code: error.code };
  }
}

function coordinatorFinding(settings: MeshSettings, mesh: Status | MeshError | undefined): Finding {
  const check = "coordinator";
  const where = coordinatorHost(settings) ?? "this machine";
  if (mesh === undefined) {
    return {
      check,
      state: "skipped",
      words: `that of the mesh ${settings.name} is not up: \`mesh up\` starts it on ${where}`,
    };
  }
  if (mesh instanceof MeshError) return unaskedFinding(settings, mesh);
  const node = mesh.nodes.find(({ role }) => role === "coordinator");
  const build = node && buildOf(node);
  if (build === buildName()) return { check, state: "ok", words: `up, of this build; the mesh is ${mesh.mesh.name}` };
  const words = `up, of build ${build ?? "unknown"}, and this is ${buildName()}`;
  return { check, state: "warning", words, fix: "`mesh up` replaces it; jobs and workers go on meanwhile" };
}

function unaskedFinding(settings: MeshSettings, { message: words, code }: MeshError): Finding {
  const check = "coordinator";
  const host = coordinatorHost(settings);
  if (code !== "UNREACHABLE") return { check, state: "problem", words, code };
  if (host === undefined) {
    const fix =
      "see whether it runs where it was started; if it is elsewhere now, `mesh join ADDRESS` again with a new token";
    return { check, state: "problem", words, fix, code };
  }
  return { check, state: "warning", words, fix: `\`mesh up\` starts it on ${host} when it does not run there` };
}

/** Undefined for this machine. */
function coordinatorHost({ config }: MeshSettings): string | undefined {
  const name = config?.coordinator.host ?? "local";
  const isHere = name === "local" || config?.hosts.find((host) => host.name === name)?.provider === "local";
  return isHere ? undefined : name;
}

/** Whether nodes can get at the coordinator, as far as this machine itself can tell. */
async function portFinding(settings: MeshSettings, mesh: Status | MeshError | undefined): Promise<Finding> {
  const check = "port";
  if (mesh === undefined && coordinatorHost(settings) === undefined) return await freePortFinding(settings);
  if (mesh === undefined || mesh instanceof MeshError) {
    return { check, state: "skipped", words: "where the coordinator listens is not known while it is not up" };
  }
  const { addresses } = mesh.mesh.coordinator;
  const tried = await Promise.all(addresses.map((address) => tryDial(address, DIAL_LIMIT_MS)));
  const reached = tried.filter(({ tookMs }) => tookMs !== undefined).map(({ address }) => address);
  if (reached.length > 0) return { check, state: "ok", words: `${reached.join(", ")} can be dialed from here` };
  const words = `none of the coordinator's addresses can be dialed from here: ${addresses.join(", ") || "it has none"}`;
  const fix = "let the port through the firewalls in between, or start the coordinator with --advertise";
  return { check, state: "problem", words, fix, code: "UNREACHABLE" };
}

async function freePortFinding(settings: MeshSettings): Promise<Finding> {
  const check = "port";
  const isAsked = settings.listen !== undefined;
  const { listen: must, listenToo = [] } = coordinatorListening(settings);
  const listen = [...must, ...listenToo];
  const failed = (await Promise.all(listen.map((address) => tryListen(address)))).filter(
    (error) => error !== undefined,
  );
  if (failed.length === 0) return { check, state: "ok", words: `${listen.join(", ")}: free for the coordinator` };
  const fix =
    "end what listens there (`ss -lntup` names it), or name another port: listen of [coordinator] in mesh.toml";
  const words = failed.map(({ message }) => message).join("; ");
  if (!isAsked) return { check, state: "warning", words: `${words}; \`mesh up\` takes any free one then`, fix };
  return { check, state: "problem", words, fix, code: "UNREACHABLE" };
}

export function clockFinding(nowMs: number): Finding {
  const check = "clock";
  const words = `${new Date(nowMs).toISOString().slice(0, 19)}Z`;
  if (nowMs >= EARLIEST_MS) return { check, state: "ok", words };
  const fix = "set it: `timedatectl set-ntp true`, as root";
  return {
    check,
    state: "problem",
    words: `${words}: it was never set, and certificates are not valid yet by it`,
    fix,
    code: "AUTHENTICATION",
  };
}
