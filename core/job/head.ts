// The head of a job: the node the script belongs to. It starts the script's slot, and the slots for tasks when there is no
// mesh; takes what they print; and says when it is over. It runs no user code, so its loop is always free.
import type { Node } from "../node/node.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import { Agent } from "../worker/agent.ts";
import {
  type JobEnded,
  LOCAL_HOST,
  type Notice,
  type Output,
  type Progress,
  type StartJob,
  type StopJob,
  type UserGone,
} from "../worker/control.ts";
import { type Death, describeDeath } from "../worker/death.ts";
import type { JobSlots } from "../worker/job-slots.ts";
import type { OutputStream, SlotProcess } from "../worker/slot-process.ts";
import { thisMachine } from "../worker/this-machine.ts";

/** What the script, and after it the slots, get to end by themselves. */
const SCRIPT_GRACE_MS = 1_500;
const SLOT_GRACE_MS = 300;

export interface HeadOptions {
  node: Node;
  /** The run folder; sockets and pages of slots lie in it. */
  folder: string;
  slotCommand: readonly string[];
  /** Takes what the job prints; it may print more when that resolves. */
  output(output: Output): Promise<unknown>;
  /** Tells the user something. */
  notice(text: string): void;
  /** Shows how a long call goes on; null when it is over. */
  progress(state: Progress | null): void;
  /** The script is over, and everything it started with it. */
  ended(ended: JobEnded): void;
}

export class Head {
  readonly #options: HeadOptions;
  readonly #agent: Agent;
  readonly #slots: JobSlots;
  readonly #driver: SlotProcess;
  #job: StartJob | undefined;

  /** Starts the script's slot at once: it gets ready while its code is still prepared. */
  constructor(options: HeadOptions) {
    this.#options = options;
    const { node, folder, slotCommand } = options;
    this.#agent = new Agent({ node, folder, slotCommand, hostName: LOCAL_HOST });
    this.#slots = this.#agent.open(this.#key, {
      output: (seat, stream, bytes) => this.#output(seat, stream, bytes),
      notice: options.notice,
      gone: (user, reason) => this.#userGone({ job: this.#key, user, reason }),
      view: () => this.#view(),
    });
    node.handleRequest(MessageType.startJob, (job: StartJob) => this.#start(job));
    node.handleRequest(MessageType.stopJob, (stop: StopJob) => this.#stop(stop));
    node.handle(MessageType.notice, ({ payload }) => options.notice((node.codec.decode(payload) as Notice).text));
    node.handle(MessageType.progress, ({ payload }) => options.progress(node.codec.decode(payload) as Progress | null));
    this.#driver = this.#slots.prepare(0)!;
    void this.#driver.died.then((death) => this.#driverDied(death));
  }

  /** A slot's process has dialed the node. */
  slotConnected(address: Address): void {
    this.#agent.slotConnected(address);
  }

  /** A slot's link has ended. */
  slotDisconnected(address: Address): void {
    this.#agent.slotDisconnected(address);
  }

  /** Ends everything at once and returns when nothing is left. */
  endAll(reason: string): Promise<void> {
    return this.#agent.closeAll(reason);
  }

  get #key(): number {
    return this.#options.node.address.node;
  }

  #start(job: StartJob): void {
    this.#job = job;
    this.#slots.start({ ...job, job: this.#key, number: 1 });
    if (job.eager) for (let seat = 1; seat <= job.slots; seat++) this.#slots.prepare(seat);
  }

  async #stop({ signal, now }: StopJob): Promise<void> {
    this.#slots.stopFilling();
    if (now) return this.endAll("the job was stopped");
    this.#driver.signal(signal);
    await Promise.race([this.#driver.died, Bun.sleep(SCRIPT_GRACE_MS)]);
    await this.#driver.end({ kind: "killed", reason: `it did not end within ${SCRIPT_GRACE_MS} ms of ${signal}` });
  }

  #output(seat: number, stream: OutputStream, bytes: Uint8Array): Promise<unknown> {
    return this.#options.output({ seat, host: LOCAL_HOST, stream, bytes });
  }

  #userGone(gone: UserGone): void {
    this.#agent.userGone(gone);
  }

  #view() {
    const { host, info } = thisMachine({ node: this.#key, name: LOCAL_HOST, slots: this.#job?.slots ?? 1 });
    return { hosts: [host], nodes: [info] };
  }

  /** The script is over: so is all it started. Tells so when that is true. */
  async #driverDied(death: Death): Promise<void> {
    const { exitCode, signalCode } = this.#driver;
    const drained = this.#slots.drained();
    this.#slots.forget(this.#driver);
    await this.#slots.endAll("the job is over", SLOT_GRACE_MS);
    await this.#agent.nursery.sweep();
    await drained;
    this.#options.ended({
      exitCode: exitCode ?? 128 + signalNumber(signalCode),
      ...(death.kind !== "exit" && { cause: describeDeath(death) }),
    });
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  const numbers: Record<string, number> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGKILL: 9, SIGTERM: 15 };
  return (signal && numbers[signal]) || 0;
}
