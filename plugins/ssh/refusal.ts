import { MeshError } from "../../core/errors.ts";

/** Why a host, or its key, will not do; `words` and `advice` are the two halves of the message. Code AUTHENTICATION. */
export class Refusal extends MeshError {
  readonly words: string;
  readonly advice: string;

  constructor(words: string, advice: string, options?: ErrorOptions) {
    super("AUTHENTICATION", `${words}; ${advice}`, options);
    this.words = words;
    this.advice = advice;
  }
}

/** The key that a host shows is not one to go on with; nothing was sent to it. */
export class RefusedHostKey extends Refusal {}

/** The host took none of what was offered, or shares no algorithm with ssh2; `forSystem` says what ssh may have besides. */
export class RefusedLogin extends Refusal {
  readonly forSystem: string[];

  constructor(words: string, advice: string, forSystem: string[], cause: Error) {
    super(words, advice, { cause });
    this.forSystem = forSystem;
  }
}
