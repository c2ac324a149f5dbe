// The link that a lane goes over now, or went over last, and what is known of it.
import type { Clock } from "../clock.ts";
import { MeshError } from "../errors.ts";
import type { LinkEnd } from "./link-end.ts";
import type { Ack } from "./machine/control-frames.ts";
import { RoundTrip } from "./machine/round-trip.ts";

/** A link past its handshake. */
export interface NewLink {
  end: LinkEnd;
  /** This side dialed it. */
  isOwn: boolean;
  address: string;
  generation: number;
  /** What the peer said in its welcome; a dialer says it in an ack, its first frame. */
  ack?: Ack;
}

export class CurrentLink {
  /** Number of the last link; 0 before the first. */
  generation = 0;
  /** Number of the last link of which both sides know that it was made. */
  sharedGeneration = 0;
  /** Where the last one leads. */
  address = "";
  /** The last one was dialed from here. */
  isOwn = false;
  readonly roundTrip = new RoundTrip();
  readonly #clock: Clock;
  #end: LinkEnd | undefined;
  /** The link before, until the peer has taken the one in its place: to see it end earlier would tell the peer that it is lost. */
  #left: LinkEnd | undefined;
  #since = 0;
  #keepsProcess = true;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined when there is none. */
  get end(): LinkEnd | undefined {
    return this.#end;
  }

  /** How long ago it was made. */
  get forMs(): number {
    return this.#clock.now() - this.#since;
  }

  /** Holds for the links to come, too. */
  setRef(keepsProcess: boolean): void {
    this.#keepsProcess = keepsProcess;
    this.#end?.link.setRef(keepsProcess);
  }

  /** Sends if there is a link; what the peer must hear is told on the next one. */
  tell(frame: Uint8Array): void {
    this.#end?.link.send(frame);
  }

  replace({ end, isOwn, address, generation, ack }: NewLink): void {
    if (ack) this.cut();
    else this.#leave();
    this.#end = end;
    this.isOwn = isOwn;
    this.address = address;
    this.generation = generation;
    this.#since = this.#clock.now();
    this.roundTrip.reset();
    end.link.setRef(this.#keepsProcess);
  }

  /** The peer has taken it. */
  confirm(): void {
    this.sharedGeneration = this.generation;
    this.#cutLeft();
  }

  /** It has ended by itself. */
  gone(): void {
    this.#cutLeft();
    this.#end = undefined;
  }

  /** Ends it when what was sent is through. */
  close(): void {
    this.#end?.close(this.#clock);
    this.gone();
  }

  cut(): void {
    this.#end?.cut(replaced());
    this.gone();
  }

  #leave(): void {
    this.#cutLeft();
    this.#end?.mute();
    this.#left = this.#end;
  }

  #cutLeft(): void {
    this.#left?.cut(replaced());
    this.#left = undefined;
  }
}

function replaced(): MeshError {
  return new MeshError("LINK_CLOSED", "another link took its place");
}
