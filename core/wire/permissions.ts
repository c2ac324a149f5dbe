// What a role may send to which other, over the sessions between nodes: one table, asked at one place, default deny.
// Nothing here is about what processes of one node's own tree send each other over its Unix sockets.
import { ROLES, type Role } from "../identity/names.ts";
import { MessageType } from "./message-types.ts";

/** "sender>receiver", each a role. */
type Way = `${Role}>${Role}`;
type Rule = readonly Way[];

/** Never crosses between nodes: for the links of one node's tree, or for frames that have no message header. */
const NEVER: Rule = [];
const ANYWHERE: Rule = ROLES.flatMap((from) => ROLES.map((to): Way => `${from}>${to}`));
const MEETING = ["worker", "head", "client", "coordinator"] as const;
/** What runs a job and who runs it; also worker to worker, for tasks that call `pool()` themselves. */
const IN_A_JOB: Rule = ["head>worker", "worker>head", "worker>worker"];
const OF_HEADS: Rule = ["head>worker"];
const TO_HEADS: Rule = ["worker>head"];
const OF_MEMBERS: Rule = ["worker>coordinator", "head>coordinator", "rendezvous>coordinator"];
const TO_MEMBERS: Rule = ["coordinator>worker", "coordinator>head", "coordinator>rendezvous"];
/** Who may have to be met, and where: the coordinator is a rendezvous, too. */
const TO_A_RENDEZVOUS: Rule = MEETING.flatMap((role): Way[] => [`${role}>rendezvous`, `${role}>coordinator`]);
const OF_A_RENDEZVOUS: Rule = MEETING.flatMap((role): Way[] => [`rendezvous>${role}`, `coordinator>${role}`]);
const OF_JOBS: Rule = ["head>coordinator"];
/** Commands of users; a head may ask all that a command may. */
const OF_USERS: Rule = ["client>coordinator", "head>coordinator"];
const TO_USERS: Rule = ["coordinator>client", "coordinator>head"];

/** Whoever may run jobs may run commands on workers. */
const TO_WORKERS_OF_USERS: Rule = ["client>worker", "head>worker"];
const OF_WORKERS_TO_USERS: Rule = ["worker>client", "worker>head"];
/** The log of a node, which is all of a rendezvous or coordinator that can be read. */
const OF_LOGS: Rule = [
  ...TO_WORKERS_OF_USERS,
  ...(["client>rendezvous", "head>rendezvous", "client>coordinator", "head>coordinator"] as const),
];
/** Tasks send files too; what of a worker's files its sender may reach is decided there (core/files). */
const OF_FILES: Rule = [...TO_WORKERS_OF_USERS, "worker>worker"];

/** One line for each message type; the compiler misses one that has none. */
const RULES: Record<keyof typeof MessageType, Rule> = {
  hello: NEVER,
  reply: ANYWHERE,
  failure: ANYWHERE,
  refused: NEVER,
  challenge: NEVER,
  greeting: NEVER,
  welcome: NEVER,
  ack: NEVER,
  heartbeat: NEVER,
  goodbye: NEVER,
  join: NEVER,
  joined: NEVER,
  grant: ANYWHERE,

  startJob: NEVER,
  stopJob: ["coordinator>head"],
  jobEnded: NEVER,
  output: TO_HEADS,
  notice: TO_HEADS,
  progress: TO_HEADS,

  load: NEVER,
  acquireSlots: ["head>worker", "worker>worker"],
  slotUp: IN_A_JOB,
  slotDown: IN_A_JOB,
  releaseSlots: ["head>worker", "worker>worker"],
  killSlot: ["head>worker", "worker>worker"],
  watchTimeouts: ["head>worker", "worker>worker"],
  alive: NEVER,
  recall: ["head>worker", "worker>worker"],

  define: IN_A_JOB,
  run: IN_A_JOB,
  result: IN_A_JOB,
  cancel: IN_A_JOB,

  register: [...OF_MEMBERS, ...TO_MEMBERS],
  membership: [...OF_MEMBERS, ...TO_MEMBERS],
  report: OF_MEMBERS,
  introduce: [...OF_MEMBERS, ...TO_MEMBERS, "client>coordinator"],
  certify: [...OF_MEMBERS, "client>coordinator"],
  revoked: [...TO_MEMBERS, "coordinator>client"],
  beginJob: OF_JOBS,
  jobProgress: OF_JOBS,
  endJob: OF_JOBS,
  jobLog: OF_JOBS,
  submitJob: OF_USERS,

  status: OF_USERS,
  jobs: OF_USERS,
  logs: OF_USERS,
  killJob: OF_USERS,
  killNode: OF_USERS,
  issueToken: OF_USERS,
  revoke: OF_USERS,
  rotateCa: OF_USERS,
  logLines: TO_USERS,
  stopLogs: OF_USERS,
  admit: OF_USERS,

  shutdown: TO_MEMBERS,
  retiring: ["worker>head", "worker>worker"],

  openJob: OF_HEADS,
  closeJob: OF_HEADS,
  openHost: TO_HEADS,
  nodesChanged: NEVER,
  userGone: IN_A_JOB,
  fork: NEVER,
  shutdownNode: TO_HEADS,
  addHost: NEVER,

  pipeSend: IN_A_JOB,
  pipeValue: IN_A_JOB,
  pipeCredit: IN_A_JOB,
  pipeRoom: IN_A_JOB,
  pipeFlush: IN_A_JOB,
  pipePull: IN_A_JOB,
  pipeWatch: IN_A_JOB,
  pipeWithdraw: IN_A_JOB,
  pipeReturn: IN_A_JOB,
  pipeStay: IN_A_JOB,
  refUse: IN_A_JOB,
  refRead: IN_A_JOB,
  refReleased: IN_A_JOB,

  exec: TO_WORKERS_OF_USERS,
  execOutput: OF_WORKERS_TO_USERS,
  execInput: TO_WORKERS_OF_USERS,
  execStop: TO_WORKERS_OF_USERS,

  fileList: TO_WORKERS_OF_USERS,
  fileOpen: OF_LOGS,
  fileRead: OF_LOGS,
  fileHash: TO_WORKERS_OF_USERS,
  fileClose: OF_LOGS,
  fileBegin: OF_FILES,
  fileWrite: OF_FILES,
  fileFinish: OF_FILES,
  fileAbandon: OF_FILES,
  fileDelete: OF_FILES,
  fileFolder: TO_WORKERS_OF_USERS,
  meetPlaces: TO_A_RENDEZVOUS,
  meet: TO_A_RENDEZVOUS,
  invited: OF_A_RENDEZVOUS,
  relay: TO_A_RENDEZVOUS,
  relayed: OF_A_RENDEZVOUS,
  explainPath: [...OF_USERS, ...TO_MEMBERS],
};

const placeOf: Record<Role, number> = { coordinator: 0, worker: 1, head: 2, client: 3, rendezvous: 4 };

/** By message type, a bit for each way: this is asked for every message that crosses. */
const allowed = new Uint32Array(256);
for (const [name, rule] of Object.entries(RULES)) {
  for (const way of rule) {
    const [from, to] = way.split(">") as [Role, Role];
    allowed[MessageType[name as keyof typeof MessageType]]! |= bitOf(from, to);
  }
}

function bitOf(from: Role, to: Role): number {
  return 1 << (placeOf[from] * ROLES.length + placeOf[to]);
}

/**
 * Tells whether a node of `role` may send a message of `type` to one of `toRole`. False for every type that is not in
 * the table. Role and receiver come from certificates, never from what a message says of itself.
 */
export function maySend(role: Role, type: number, toRole: Role): boolean {
  return ((allowed[type] ?? 0) & bitOf(role, toRole)) !== 0;
}
