// mesh doctor: what works on this machine, on each host and between two of them, what does not, why, and what to do.
import { Command } from "@commander-js/extra-typings";
import type { NodeStatus } from "../../core/coordinator/answers.ts";
import { isMeshError, MeshError } from "../../core/errors.ts";
import type { Examination } from "../../core/fleet/examine.ts";
import { roleOf } from "../../core/fleet/hosts.ts";
import { memberFinding, type Pair, pairFindings } from "../../core/fleet/mesh-findings.ts";
import { natFinding } from "../../core/fleet/path-findings.ts";
import { reachFinding } from "../../core/fleet/rendezvous-findings.ts";
import type { Finding, HostRole } from "../../core/provider.ts";
import { jsonOption, meshOption } from "../options.ts";
import type { ProgramContext } from "../program.ts";
import { buildName } from "../roles/node-process.ts";
import {
  endingQuietly,
  print,
  type Surroundings,
  statusOfSignal,
  surroundingsOfProcess,
  tableOptions,
} from "../surroundings.ts";
import { diagnosePath, pathIfNodes } from "./doctor-path.ts";
import { type Diagnosis, diagnosisLines, statusOfDiagnosis } from "./doctor-view.ts";
import { Fleet, type FleetExamination } from "./fleet.ts";
import { askPasswordOption, type FleetCommandOptions, parallelOption } from "./fleet-options.ts";
import { examineOwnMachine } from "./own-machine.ts";

const EXAMPLES = `
Examples:
  mesh doctor                   this machine, all hosts of mesh.toml, and the mesh
  mesh doctor alice@10.0.0.5    a host that no mesh.toml names: what ssh finds by that
  mesh doctor gpu1 gpu2         two hosts, and how their workers reach each other
  mesh doctor --path gpu1 run-7 how two nodes that are in the mesh reach each other; nobody logs in anywhere.
                                The same without --path, when no mesh.toml and no \`mesh up\` knows the two
  mesh doctor --thorough        also whether sshd drops logins that come all at once

It looks and changes nothing. Exit status: 0 when there is no problem (warnings are none), 3 when some
hosts have one; when all have, 4 for logins and host keys, 5 for hosts that cannot be reached.`;

interface DoctorOptions extends FleetCommandOptions {
  thorough?: true | undefined;
  path?: true | undefined;
}

/** `mesh doctor`. */
export function command(_context?: ProgramContext, around = surroundingsOfProcess()) {
  return new Command("doctor")
    .description("Tell what works on this machine and on each host, what does not, why, and what to do about it.")
    .argument("[hosts...]", "names or ranges of mesh.toml, or destinations for ssh (default: all of mesh.toml)")
    .option("--thorough", "also log in eight times at once on each host")
    .option("--path", "only how two nodes of the mesh, also heads and the coordinator, reach each other, and why so")
    .addOption(parallelOption())
    .addOption(askPasswordOption())
    .addOption(jsonOption("{ here, hosts: [{ name, findings: [{ check, state, words, fix }] }], mesh, between, pair }"))
    .addOption(meshOption())
    .addHelpText("after", EXAMPLES)
    .action((hosts, options) => endingQuietly(around, () => doctor(hosts, options, around)));
}

async function doctor(words: string[], options: DoctorOptions, around: Surroundings): Promise<number> {
  using interruption = around.catchSignals();
  const { signal } = interruption;
  const diagnosis = options.path
    ? await diagnosePath(words, options.mesh, around)
    : await diagnose(words, options, around, signal);
  if (signal.aborted) return statusOfSignal(signal);
  const text = options.json ? JSON.stringify(diagnosis) : diagnosisLines(diagnosis, tableOptions(around)).join("\n");
  await print(around, text);
  return statusOfDiagnosis(diagnosis);
}

async function diagnose(
  words: string[],
  options: DoctorOptions,
  around: Surroundings,
  signal: AbortSignal,
): Promise<Diagnosis> {
  let fleet: Fleet;
  try {
    fleet = await Fleet.open(words, options, around);
  } catch (error) {
    if (!isMeshError(error) || error.code === "USAGE") throw error;
    return withoutFleet(error, signal);
  }
  await using hosts = fleet;
  const nodes = words.length === 2 && hosts.areUnknown && (await pathIfNodes(words, options.mesh, around));
  if (nodes) return nodes;
  const isPair = words.length === 2 && hosts.hosts.length === 2;
  const isAll = words.length === 0;
  const found = await hosts.examine({ isThorough: options.thorough === true, isPair, isAll }, signal);
  await hosts.settle();
  const own = await examineOwnMachine({ settings: hosts.settings, mesh: found.mesh, signal });
  const here = found.own ? [...own, natFinding(found.own)] : own;
  const [first, second] = hosts.hosts.map(({ name }) => name);
  return diagnosisOf(here, found, isPair ? [first!, second!] : null);
}

/** mesh.toml or the state folder is such that no host is known: this machine's findings say so. */
async function withoutFleet(error: MeshError, signal: AbortSignal): Promise<Diagnosis> {
  const here = await examineOwnMachine({ settings: undefined, mesh: undefined, signal });
  if (!here.some(({ state }) => state === "problem")) {
    here.push({ check: "hosts", state: "problem", words: error.message, code: error.code });
  }
  return { here, hosts: [], mesh: [], between: null, pair: null };
}

function diagnosisOf(
  here: Finding[],
  { mesh, examinations, nodesAlone, reports }: FleetExamination,
  asked: [string, string] | null,
): Diagnosis {
  const nodes = mesh === undefined || mesh instanceof MeshError ? undefined : mesh.nodes;
  const workers = new Map(
    (nodes ?? [])
      .filter(({ role }) => role === "worker" || role === "rendezvous")
      .toReversed()
      .map((node) => [node.name, node]),
  );
  const hosts = examinations.map(({ host, findings }) => {
    const role = roleOf(host);
    const hasWorker = findings.some(({ check, state }) => check === role && state !== "skipped");
    const about = { role, build: buildName(), hasWorker };
    const { name, target, provider } = host;
    const inMesh = nodes ? nodeFindings(name, workers.get(name), about, { nodes, reports }) : [];
    return { name, target, provider, findings: [...findings, ...inMesh] };
  });
  const others = nodesAlone.map((node) => {
    const about = { role: node.role as HostRole, build: buildName(), hasWorker: true };
    return { name: node.name, findings: nodeFindings(node.name, node, about, { nodes: nodes!, reports }) };
  });
  const between: Diagnosis["between"] = nodes ? asked : null;
  const pair = between && pairOf(between, examinations, workers, reports);
  // Some login shows that there are keys; whose nodes all joined by themselves needs none.
  const isKeyNeeded =
    !hosts.some(({ findings }) => findings.some(isLogin)) && (hosts.length > 0 || others.length === 0);
  const own = here.filter(({ check, state }) => isKeyNeeded || check !== "keys" || state !== "warning");
  return { here: [...own, ...sharedSkew(examinations)], hosts, mesh: others, between, pair };
}

function isLogin({ check, state }: Finding): boolean {
  return check === "login" && state === "ok";
}

/** What the mesh says of a node, and the node itself. */
function nodeFindings(
  name: string,
  node: NodeStatus | undefined,
  about: Parameters<typeof memberFinding>[2],
  { nodes, reports }: { nodes: readonly NodeStatus[]; reports: FleetExamination["reports"] },
): Finding[] {
  const member = memberFinding(name, node, about);
  if (!node || node.state === "down") return [member];
  if (node.role === "rendezvous") return [member, reachFinding(node, nodes)];
  const report = reports.get(name);
  return report ? [member, natFinding(report)] : [member];
}

function pairOf(
  names: [string, string],
  examinations: readonly Examination[],
  workers: ReadonlyMap<string, NodeStatus>,
  reports: FleetExamination["reports"],
): Finding[] {
  const [a, b] = names.map((name, at): Pair => {
    const other = names[1 - at];
    const findings = examinations.find(({ host }) => host.name === name)?.findings;
    const way = findings?.find(({ check }) => check === `to ${other}`);
    const report = reports.get(name);
    return {
      name,
      node: workers.get(name),
      report,
      dials: way && way.state !== "skipped" ? way.state === "ok" : undefined,
    };
  });
  return pairFindings(a!, b!);
}

/** When no host's clock agrees with this machine's, it is this one that is wrong. */
function sharedSkew(examinations: readonly Examination[]): Finding[] {
  const clocks = examinations.flatMap(({ findings }) => findings.filter(({ check }) => check === "clock"));
  if (clocks.length < 2 || clocks.some(({ state }) => state !== "problem")) return [];
  const words = `the clocks of all ${clocks.length} hosts differ from this machine's: it may be the one that is wrong`;
  return [{ check: "clock of all", state: "warning", words, fix: "compare `date -u` with a clock you trust" }];
}
