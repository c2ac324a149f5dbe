// The status of a mesh as lines for people.
import type { JobRecord, NodeStatus, PathInfo, RendezvousStatus, Status } from "../../core/coordinator/answers.ts";
import { ROLES } from "../../core/identity/names.ts";
import { bytesWords, roundTripWords, spanWords } from "../amounts.ts";
import { type Colour, type Column, cutTo, printable, type TableOptions, table } from "../table.ts";
import { count, nodeNames, progressWords, timeOf } from "./job-words.ts";

const COLOUR_OF_STATE: Record<NodeStatus["state"], Colour> = {
  up: "green",
  suspect: "yellow",
  retiring: "yellow",
  down: "red",
};

interface ViewOptions extends TableOptions {
  /** Milliseconds since 1970. */
  now: number;
}

const NO_WORKER = "no worker is up: start `mesh worker` here; `mesh token --role worker` tells how other machines join";

/** What `mesh status` prints: a line on the mesh, a table of its nodes, a table of its jobs. */
export function statusLines(status: Status, options: ViewOptions): string[] {
  const { nodes, jobs } = status;
  const lines = [summary(status, options.now)];
  if (nodes.length > 0) lines.push("", ...table(sorted(nodes), nodeColumns(status, options.now), options));
  const meeting = sorted(nodes).flatMap(rendezvousLine);
  if (meeting.length > 0) lines.push("", ...meeting);
  if (workersUp(status).length === 0) lines.push("", NO_WORKER);
  if (jobs.length > 0) lines.push("", ...table(jobs, jobColumns(options.now), options));
  return lines.map((line) => cutTo(line, options.width));
}

function workersUp({ nodes }: Status): NodeStatus[] {
  return nodes.filter(({ role, state }) => role === "worker" && state !== "down");
}

function summary(status: Status, now: number): string {
  const { mesh, jobs } = status;
  const workers = workersUp(status);
  const used = workers.reduce((sum, node) => sum + node.used, 0);
  const slots = workers.reduce((sum, node) => sum + node.slots, 0);
  const parts = [
    count(workers.length, "worker"),
    `${used} of ${count(slots, "slot")} used`,
    `${count(jobs.length, "job")} running`,
  ];
  const { addresses, since } = mesh.coordinator;
  const where = addresses.length > 0 ? ` on ${printable(addresses.join(", "))}` : "";
  return `mesh ${printable(mesh.name)}: ${parts.join(", ")}; coordinator${where}, up ${age(since, now)}`;
}

/** What a rendezvous did; of the coordinator, which nobody asked to be one, only when it did something. */
function rendezvousLine({ name, role, rendezvous, addresses }: NodeStatus): string[] {
  if (!rendezvous) return [];
  const { introduced, relays, bytes, refused } = rendezvous;
  if (role === "coordinator" && introduced + relays + bytes + refused === 0) return [];
  const where = role === "coordinator" || addresses.length === 0 ? "" : `; on ${addresses.join(", ")}`;
  return [printable(`${name}: ${rendezvousWords(rendezvous)}${where}`)];
}

function rendezvousWords(done: RendezvousStatus): string {
  const { introduced, relays, bytes, packets, dropped, overQuota, refused } = done;
  const inPackets = packets > 0 ? ` (${count(packets, "packet")} by UDP)` : "";
  const over = overQuota > 0 ? ` (${overQuota} over relayRate)` : "";
  return [
    `${count(introduced, "pair")} introduced`,
    `${relays} relayed now`,
    ...(bytes > 0 ? [`${bytesWords(bytes)} forwarded${inPackets}`] : []),
    ...(dropped > 0 ? [`${count(dropped, "packet")} dropped${over}`] : []),
    ...(refused > 0 ? [`${count(refused, "relay")} refused`] : []),
  ].join(", ");
}

function nodeColumns({ mesh }: Status, now: number): Column<NodeStatus>[] {
  return [
    { title: "NODE", rank: 0, text: ({ name }) => name },
    { title: "ROLE", rank: 4, text: ({ role }) => role },
    { title: "STATE", rank: 0, text: ({ state }) => state, colour: ({ state }) => COLOUR_OF_STATE[state] },
    { title: "SLOTS", rank: 1, align: "right", text: slotsWords },
    { title: "LOAD", rank: 5, align: "right", text: ({ load }) => (load === null ? "-" : load.toFixed(2)) },
    { title: "MEMORY", rank: 6, align: "right", text: memoryWords },
    { title: "PATH", rank: 2, text: ({ path }) => path?.kind ?? "-" },
    { title: "RTT", rank: 3, align: "right", text: ({ path }) => roundTrip(path) },
    { title: "HOST", rank: 7, text: ({ host }) => host },
    {
      title: "VERSION",
      rank: 8,
      text: ({ version }) => version,
      colour: ({ version }) => (version === mesh.coordinator.version ? undefined : "yellow"),
    },
    { title: "UP", rank: 9, align: "right", text: ({ since }) => age(since, now) },
    { title: "TAGS", rank: 10, text: ({ tags }) => tags.join(",") },
  ];
}

function jobColumns(now: number): Column<JobRecord>[] {
  return [
    { title: "JOB", rank: 0, align: "right", text: ({ job }) => String(job) },
    { title: "NAME", rank: 0, text: ({ name }) => name },
    { title: "TIME", rank: 2, align: "right", text: (job) => timeOf(job, now) },
    { title: "PROGRESS", rank: 1, isCut: true, text: ({ progress }) => progressWords(progress) },
    { title: "NODES", rank: 3, text: ({ nodes }) => nodeNames(nodes) },
    { title: "HEAD", rank: 5, text: ({ head }) => head.name },
    { title: "DETACHED", rank: 4, text: ({ detached }) => (detached ? "yes" : "") },
    { title: "USER", rank: 6, text: ({ user, host }) => `${user}@${host}` },
    { title: "SCRIPT", rank: 7, text: ({ script }) => script },
  ];
}

/** "-" for the coordinator itself, and for a path that was not measured yet. */
function roundTrip(path: PathInfo | null): string {
  return path === null || path.rttMs === null ? "-" : roundTripWords(path.rttMs);
}

function slotsWords({ slots, used }: NodeStatus): string {
  return slots === 0 ? "-" : `${used}/${slots}`;
}

function memoryWords({ memory }: NodeStatus): string {
  return memory === null ? "-" : `${bytesWords(memory.usedBytes)}/${bytesWords(memory.totalBytes)}`;
}

function age(since: number, now: number): string {
  return spanWords((now - since) / 1_000);
}

/** By role, then by name, gpu2 before gpu10. */
function sorted(nodes: readonly NodeStatus[]): NodeStatus[] {
  const { compare } = new Intl.Collator("en", { numeric: true });
  return nodes.toSorted((a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || compare(a.name, b.name));
}
