// What `mesh doctor` found, for people, as JSON, and as an exit status.
import { styleText } from "node:util";
import { MeshError } from "../../core/errors.ts";
import type { Finding } from "../../core/provider.ts";
import { count } from "../operate/job-words.ts";
import { type Colour, printable, type TableOptions } from "../table.ts";
import { statusOfOutcomes } from "./host-outcomes.ts";

/** One thing that was looked at as a whole: a host, this machine, the mesh. */
export interface Section {
  title: string;
  findings: Finding[];
}

export interface Diagnosis {
  here: Finding[];
  hosts: { name: string; target: string; provider: string; findings: Finding[] }[];
  /** Other workers of the mesh, each by its name; empty when it is not up. */
  mesh: { name: string; findings: Finding[] }[];
  /** The names of two that were named, hosts or nodes, */
  between: [string, string] | null;
  /** and what there is between them. */
  pair: Finding[] | null;
}

const MARKS: Record<Finding["state"], { mark: string; colour: Colour }> = {
  ok: { mark: "ok", colour: "green" },
  warning: { mark: "warning", colour: "yellow" },
  problem: { mark: "PROBLEM", colour: "red" },
  skipped: { mark: "-", colour: "dim" },
};
const MARK_WIDTH = 7;
const NARROWEST = 30;

/** A paragraph for each section, and what it comes to. */
export function diagnosisLines(diagnosis: Diagnosis, options: TableOptions): string[] {
  const sections = sectionsOf(diagnosis);
  return [...sections.flatMap((section) => [...sectionLines(section, options), ""]), verdict(sections)];
}

function sectionsOf({ here, hosts, mesh, between, pair }: Diagnosis): Section[] {
  const titleOf = ({ name, target }: { name: string; target: string }) =>
    target === name ? name : `${name} (${target})`;
  return [
    ...(here.length > 0 ? [{ title: "this machine", findings: here }] : []),
    ...hosts.map((host) => ({ title: titleOf(host), findings: host.findings })),
    ...mesh.map(({ name, findings }) => ({ title: `${name}, which mesh.toml does not name`, findings })),
    ...(between && pair ? [{ title: between.join(" and "), findings: pair }] : []),
  ];
}

function sectionLines({ title, findings }: Section, options: TableOptions): string[] {
  const rows = folded(findings);
  const width = Math.max(...rows.filter(({ state }) => state !== "skipped").map(({ check }) => check.length), 0);
  const paint = painter(options);
  return [paint("bold", printable(title)), ...rows.flatMap((row) => findingLines(row, width, options))];
}

function findingLines({ check, state, words, fix }: Finding, checkWidth: number, options: TableOptions): string[] {
  const { mark, colour } = MARKS[state];
  const paint = painter(options);
  const indent = 2 + MARK_WIDTH + 2 + checkWidth + 2;
  const [first = "", ...more] = wrapped(words, indent, options);
  const head = `  ${paint(colour, mark.padEnd(MARK_WIDTH))}  ${printable(check).padEnd(checkWidth)}  ${first}`;
  const fixes = fix === undefined ? [] : wrapped(`fix: ${fix}`, indent, options).map((line) => paint("bold", line));
  return [head.trimEnd(), ...[...more, ...fixes].map((line) => " ".repeat(indent) + line)];
}

/** Skipped for the same reason: together. */
function folded(findings: readonly Finding[]): Finding[] {
  const rows: Finding[] = [];
  for (const finding of findings) {
    const last = rows.at(-1);
    const isSame = last?.state === "skipped" && finding.state === "skipped" && last.words === finding.words;
    if (isSame) rows[rows.length - 1] = { ...last, check: `${last.check}, ${finding.check}` };
    else rows.push(finding);
  }
  return rows;
}

function wrapped(text: string, indent: number, { width }: TableOptions): string[] {
  const lines = text.split("\n").map(printable);
  if (width === undefined) return lines;
  return lines.flatMap((line) => Bun.wrapAnsi(line, Math.max(NARROWEST, width - indent), { hard: true }).split("\n"));
}

function painter({ colour }: TableOptions) {
  return (style: Colour | "bold", text: string) => (colour ? styleText(style, text, { validateStream: false }) : text);
}

function verdict(sections: readonly Section[]): string {
  const of = (state: Finding["state"]) =>
    sections.flatMap(({ findings }) => findings).filter((finding) => finding.state === state).length;
  const [problems, warnings] = [of("problem"), of("warning")];
  if (problems + warnings === 0) return "nothing is wrong";
  const parts = [
    ...(problems > 0 ? [count(problems, "problem")] : []),
    ...(warnings > 0 ? [count(warnings, "warning")] : []),
  ];
  return parts.join(", ");
}

/** 0 without a problem; 3 when some host has one; when all have, and for one reason, the status of that. */
export function statusOfDiagnosis({ here, hosts, mesh, pair }: Diagnosis): number {
  const others = [here, ...mesh.map(({ findings }) => findings), pair ?? []]
    .map(problemIn)
    .filter(({ error }) => error);
  return statusOfOutcomes([...hosts.map(({ findings }) => problemIn(findings)), ...others]);
}

function problemIn(findings: readonly Finding[]): { error?: MeshError } {
  const found = findings.find(({ state }) => state === "problem");
  return found ? { error: new MeshError(found.code ?? "UNREACHABLE", found.words) } : {};
}
