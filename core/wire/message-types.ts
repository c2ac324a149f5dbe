// Every type of message there is, and the version of the protocol. Append only: a number is never given twice.

/** Version 1: one machine (agent, slots, head over Unix sockets). */
export const PROTOCOL_VERSION = 1;

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

  /** Task protocol, between slots; see core/api/task-wire.ts. Payloads in bytes. */
  define: 48,
  run: 49,
  result: 50,
  cancel: 51,
  recall: 52,
} as const;

const names = new Map<number, string>(Object.entries(MessageType).map(([name, type]) => [type, name]));

/** The name of a message type, for errors and logs. */
export function messageTypeName(type: number): string {
  return names.get(type) ?? `type ${type}`;
}
