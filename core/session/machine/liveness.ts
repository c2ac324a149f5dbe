// Whether a peer still lives, as far as one lane of a session can tell: (state, event, now) -> [state, effects].
// Knows time as a number that is handed in and does nothing itself; session.ts runs the effects.
//
//            wanted           linked            silent for suspectAfterMs
//   idle ------------> connecting -----> up --------------------------> suspect
//     ^                    |            ^ | lost                         |  | lost
//     |  released          |      linked| v                      heard   |  v
//     +----(from any)      |          detached <-------------------------+--+
//                          | connectTimeoutMs      | silent for downAfterMs (suspect, detached)
//                          +-------> down <--------+

/** Limits of a session in time, all in milliseconds. */
export interface Timing {
  /** Each side says something at least this often. Default 1,000. */
  heartbeatMs: number;
  /** A peer that was not heard for so long is suspected: another link to it is tried. Default 3,000. */
  suspectAfterMs: number;
  /** A peer that was not heard for so long is given up for good. Default 10,000. */
  downAfterMs: number;
  /** How long a peer that was never reached is tried. Default 10,000. */
  connectTimeoutMs: number;
}

export const DEFAULT_TIMING: Timing = {
  heartbeatMs: 1_000,
  suspectAfterMs: 3_000,
  downAfterMs: 10_000,
  connectTimeoutMs: 10_000,
};

/** idle: no link and none is needed. detached: the link is lost and another is looked for. down: over for good. */
export type Phase = "idle" | "connecting" | "up" | "suspect" | "detached" | "down";

export interface Liveness {
  readonly phase: Phase;
  /** When this phase began. */
  readonly since: number;
  /** When the peer was last heard. */
  readonly heardAt: number;
  /** When the next heartbeat is due. */
  readonly beatAt: number;
  /** When to tick next; Infinity: not before something happens. */
  readonly wakeAt: number;
  /** The last tick came much too late: this process itself stood still. */
  readonly overslept: boolean;
}

export type LivenessEvent =
  | "wanted" // there is something to send, or the peer asked for a link
  | "linked" // a link is past its handshake
  | "heard" // something came over the link
  | "lost" // the link ended
  | "released" // the link was given up, and none is needed
  | "ended" // the session is over, for another reason than silence
  | "tick"; // wakeAt has come

/** doubt: nothing was heard since the last heartbeat. beat: send a heartbeat. seek: look for a link. settle: stop looking. expire: the peer is down. */
export type LivenessEffect = "doubt" | "beat" | "seek" | "settle" | "expire";

type Step = [Liveness, LivenessEffect[]];

/** The state of a lane that begins to look for its first link, or with `isIdle` of one that does not need any yet. */
export function beginLiveness(now: number, timing: Timing, isIdle: boolean): Liveness {
  const state = { since: now, heardAt: now, beatAt: now, overslept: false };
  if (isIdle) return { ...state, phase: "idle", wakeAt: Number.POSITIVE_INFINITY };
  return { ...state, phase: "connecting", wakeAt: now + timing.connectTimeoutMs };
}

export function stepLiveness(state: Liveness, event: LivenessEvent, now: number, timing: Timing): Step {
  if (state.phase === "down") return [state, []];
  switch (event) {
    case "wanted":
      return state.phase === "idle" ? [beginLiveness(now, timing, false), ["seek"]] : [state, []];
    case "linked":
      return linked(state, now, timing);
    case "heard":
      return heard(state, now, timing);
    case "lost":
      if (!hasLink(state.phase)) return [state, []];
      return [armed({ ...state, phase: "detached", since: now }, timing), ["seek"]];
    case "released":
      return [beginLiveness(now, timing, true), ["settle"]];
    case "ended":
      return [over(state, now), ["settle"]];
    case "tick":
      return tick(state, now, timing);
  }
}

function hasLink(phase: Phase): boolean {
  return phase === "up" || phase === "suspect";
}

function linked(state: Liveness, now: number, timing: Timing): Step {
  const since = state.phase === "up" ? state.since : now;
  const beatAt = now + timing.heartbeatMs;
  return [armed({ ...state, phase: "up", since, heardAt: now, beatAt }, timing), ["settle", "beat"]];
}

function heard(state: Liveness, now: number, timing: Timing): Step {
  if (state.phase === "up") return [{ ...state, heardAt: now }, []]; // wakeAt is early: the tick sees to that
  if (state.phase !== "suspect") return [state, []];
  return [armed({ ...state, phase: "up", since: now, heardAt: now }, timing), ["settle"]];
}

function tick(state: Liveness, now: number, timing: Timing): Step {
  if (now < state.wakeAt) return [state, []];
  if (isLate(state, now, timing)) return slept(state, now, timing);
  const effects: LivenessEffect[] = [];
  let next: Liveness = { ...state, overslept: false };
  if (isOver(next, now, timing)) return [over(next, now), ["settle", "expire"]];
  if (next.phase === "up" && now - next.heardAt >= timing.suspectAfterMs) {
    next = { ...next, phase: "suspect", since: now };
    effects.push("seek");
  }
  if (hasLink(next.phase) && now >= next.beatAt) {
    if (now - next.heardAt >= timing.heartbeatMs) effects.push("doubt");
    next = { ...next, beatAt: now + timing.heartbeatMs };
    effects.push("beat");
  }
  return [armed(next, timing), effects];
}

/** Much too late: whoever was stopped for a while has not yet read what came meanwhile, and must not judge the peer. */
function isLate(state: Liveness, now: number, timing: Timing): boolean {
  return !state.overslept && now - state.wakeAt >= 2 * timing.heartbeatMs;
}

/** Judges one heartbeat later, when what lay in the socket has been read. */
function slept(state: Liveness, now: number, timing: Timing): Step {
  const wakeAt = now + timing.heartbeatMs;
  const next = { ...state, overslept: true, beatAt: wakeAt, wakeAt };
  return [next, hasLink(state.phase) ? ["beat"] : []];
}

function isOver({ phase, since, heardAt }: Liveness, now: number, timing: Timing): boolean {
  if (phase === "connecting") return now - since >= timing.connectTimeoutMs;
  return phase !== "idle" && now - heardAt >= timing.downAfterMs;
}

function over(state: Liveness, now: number): Liveness {
  return { ...state, phase: "down", since: now, wakeAt: Number.POSITIVE_INFINITY };
}

/** With the time at which something must be decided next. */
function armed(state: Liveness, timing: Timing): Liveness {
  return { ...state, wakeAt: wakeTime(state, timing) };
}

function wakeTime({ phase, since, heardAt, beatAt }: Liveness, timing: Timing): number {
  const downAt = heardAt + timing.downAfterMs;
  switch (phase) {
    case "idle":
    case "down":
      return Number.POSITIVE_INFINITY;
    case "connecting":
      return since + timing.connectTimeoutMs;
    case "up":
      return Math.min(beatAt, heardAt + timing.suspectAfterMs, downAt);
    case "suspect":
      return Math.min(beatAt, downAt);
    case "detached":
      return downAt;
  }
}
