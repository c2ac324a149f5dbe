// Every type of message there is, and the version of the protocol. Append only: a number is never given twice.

/** 1: one machine. 2: a mesh of several: sessions, identity, membership, large messages paced end to end. */
export const PROTOCOL_VERSION = 2;

/** "payload" below is CBOR of the shape given, unless the line says bytes. */
export const MessageType = {
  /** First message on a link, from who dialed: {protocol}; its source is the sender's address. */
  hello: 1,
  /** Answer to a request: any value. */
  reply: 2,
  /** Answer to a request that failed: an Error. */
  failure: 3,
  /** Answer to a hello that is not accepted: {reason}; the link ends after it. */
  refused: 4,

  /** Between nodes, handshake and upkeep of a session's links; these have no message header. See core/session. */
  challenge: 5,
  greeting: 6,
  welcome: 7,
  ack: 8,
  heartbeat: 9,
  goodbye: 10,
  /** Somebody without a certificate asks the coordinator for one, with a token; see core/identity. */
  join: 11,
  joined: 12,
  /** To the source of a large message: some of its pieces were taken; the correlation says how many. No payload. */
  grant: 13,

  /** head -> agent, request: StartJob; the job's code is ready. Bodies named so are in core/worker/control.ts. */
  startJob: 16,
  /** head -> agent, request: StopJob; ends the job: the script first, then its slots. */
  stopJob: 17,
  /** agent -> head: JobEnded; the script is over and so is all it started. */
  jobEnded: 18,
  /** agent -> head, request (its reply is the credit for more): Output. */
  output: 19,
  /** agent -> head: {text}; something the user should know: a slot died, was replaced, cannot start. */
  notice: 20,
  /** driver -> agent -> head: Progress or null; draws the progress bar. */
  progress: 21,

  /** agent -> slot, request: LoadJob; the slot loads the job's code. */
  load: 32,
  /** slot -> agent: {seats}; wants a slot on each of these seats; slotUp tells of each. */
  acquireSlots: 33,
  /** agent -> slot that acquired: SlotInfo of core/api/scheduler.ts; one more is ready. */
  slotUp: 34,
  /** agent -> slot that acquired: SlotDown of core/api/scheduler.ts; one died, and what it was doing. */
  slotDown: 35,
  /** slot -> agent: {seats}; wants these no more; those nobody else wants are emptied. */
  releaseSlots: 36,
  /** slot -> agent: KillSlot; end that slot, when run is given only if it still works on that run. */
  killSlot: 37,
  /** slot -> agent: {}; some call limits the time of its items: watch the status pages of all slots. */
  watchTimeouts: 38,
  /** agent -> slot, request: it has nothing to do; is it still there? */
  alive: 39,
  /** process of a job -> agent, request: RecallChunks; what waits in a slot is not to begin there. */
  recall: 40,

  /** Task protocol, between slots; see core/api/task-wire.ts. Payloads in bytes. */
  define: 48,
  run: 49,
  result: 50,
  cancel: 51,
  // 52 was a recall that the slot itself was told.

  /** Node to coordinator and back; bodies in core/coordinator. */
  register: 64,
  membership: 65,
  report: 66,
  introduce: 67,
  certify: 68,
  revoked: 69,
  beginJob: 72,
  jobProgress: 73,
  endJob: 74,
  jobLog: 75,
  submitJob: 76,

  /** Commands of users to the coordinator, and what it streams back. */
  status: 80,
  jobs: 81,
  logs: 82,
  killJob: 83,
  killNode: 84,
  issueToken: 85,
  revoke: 86,
  rotateCa: 87,
  logLines: 88,
  stopLogs: 89,
  admit: 92,

  /** coordinator -> node. */
  shutdown: 91,

  /** worker -> heads and workers it has a session with: {addresses}; it retires, and stays for the jobs it has. */
  retiring: 93,

  /** head -> worker: a job may use this host's slots; and is over. */
  openJob: 96,
  closeJob: 97,
  /** slot -> head, request: open the job on this host. */
  openHost: 98,
  /** node -> its slots: who is in the mesh now. */
  nodesChanged: 99,
  /** agent -> agents of the job: a process that used slots is gone. */
  userGone: 100,
  /** slot -> head, requests: start nodes on its machine; end a node. */
  fork: 101,
  shutdownNode: 102,
  /** slot -> head, request: start a worker on another host. */
  addHost: 103,

  /** Pipes (core/api/pipe-wire.ts): values from who sends to the pipe's home, and from there to who receives. Payloads in bytes. */
  pipeSend: 112,
  pipeValue: 113,
  /** home -> sender: what left the pipe, and whether it is closed. */
  pipeCredit: 114,
  /** sender -> home, requests: answered when the pipe has room; when all sent so far is in it. */
  pipeRoom: 115,
  pipeFlush: 116,
  /** receiver -> home: how many values it is ready for. */
  pipePull: 117,
  /** receiver -> home, requests: answered at the end of the pipe; with what was sent to it, and nothing more is. */
  pipeWatch: 118,
  pipeWithdraw: 119,
  /** receiver -> home, request: values that nobody there wants any more. */
  pipeReturn: 120,
  /** home -> receiver, request: answered when it leaves; fails when it dies. */
  pipeStay: 121,

  /** References (core/api/put-service.ts). reader -> owner: it uses a value; a part of it, a request. owner -> readers: forget it. */
  refUse: 122,
  refRead: 123,
  refReleased: 124,

  /** Commands on workers; bodies in core/worker/command-bodies.ts. client -> worker, request: answered when it is over. */
  exec: 128,
  /** worker -> client, request (its reply is the credit for more): what the command prints. */
  execOutput: 129,
  /** client -> worker, request (its reply is the credit for more): what the command reads. */
  execInput: 130,
  /** client -> worker: end it. */
  execStop: 131,

  /** Files of a worker, requests; bodies in core/files/bodies.ts. What is there; one file to read, in parts; its end. */
  fileList: 140,
  fileOpen: 141,
  fileRead: 142,
  fileHash: 143,
  fileClose: 144,
  /** One file to write: what stands there, its parts, and its end, good or not. */
  fileBegin: 145,
  fileWrite: 146,
  fileFinish: 147,
  fileAbandon: 148,
  fileDelete: 149,
  fileFolder: 150,

  /** Meeting through routers; bodies in core/rendezvous/bodies.ts. node -> rendezvous, requests: where to learn one's outside address. */
  meetPlaces: 152,
  /** Answered when the other has asked for the same: now both send at each other. */
  meet: 153,
  /** rendezvous -> node: {node}; it wants to meet you, ask for the same. */
  invited: 154,
  /** node -> rendezvous, request: forward between that node and me. rendezvous -> the other: the same answer. */
  relay: 155,
  relayed: 156,
  /** user -> coordinator -> node, request: how it reaches another one, and why not better; core/coordinator/path-report.ts. */
  explainPath: 157,
} as const;

const names = new Map<number, string>(Object.entries(MessageType).map(([name, type]) => [type, name]));

/** The name of a message type, for errors and logs. */
export function messageTypeName(type: number): string {
  return names.get(type) ?? `type ${type}`;
}
