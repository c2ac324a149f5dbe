// How to log in: the ways to prove who we are, one after the other, in ssh's order, and what became of each.
import type { AnyAuthMethod, BaseAgent, ParsedKey, SignCallback, SigningRequestOptions } from "ssh2";
import type { Person } from "../../core/provider.ts";
import { foreignWords } from "./foreign-words.ts";
import { findIdentities, type Identities, type Identity } from "./identities.ts";
import type { KeyRing, ParseKey } from "./key-files.ts";
import type { SshSettings } from "./settings.ts";

type Ssh2 = typeof import("ssh2");

export interface LoginOptions {
  settings: SshSettings;
  /** For questions: "alice@10.0.0.5". */
  label: string;
  keyRing: KeyRing;
  person: Person | undefined;
  askPassword: boolean;
}

const PASSWORD_TRIES = 3;

/** One login. `tried` says afterwards what was offered and how the host took it. */
export class Login {
  readonly tried: string[] = [];
  /** What the host was shown last: of a login that worked, what it was let in by. */
  by = "nothing: it lets anybody in";
  /** What the system's ssh could try that this login could not. */
  get forSystem(): string[] {
    const ways = this.#options.settings.mayNeedSystem.filter(({ method }) => this.#accepts?.includes(method));
    return [...ways.map(({ name }) => name), ...this.#keysForSystem];
  }

  /** Told while somebody is asked. */
  watch: { pause(): void; resume(): void } = { pause() {}, resume() {} };
  readonly #options: LoginOptions;
  readonly #ssh2: Ssh2;
  #hasSigned = false;
  #keysForSystem: string[] = [];
  /** What the host would take, as far as it said. */
  #accepts: string[] | undefined;

  constructor(ssh2: Ssh2, options: LoginOptions) {
    this.#ssh2 = ssh2;
    this.#options = { ...options, person: options.person && this.#patient(options.person) };
  }

  /** An authHandler of ssh2. */
  get handler() {
    const ways = this.#ways();
    return (left: string[] | null, _isPartial: boolean | null, next: (way: AnyAuthMethod | false) => void): void => {
      if (left) this.#accepts = left;
      ways.next().then(
        ({ value, done }) => next(done ? false : value),
        (error: Error) => {
          this.tried.push(error.message);
          next(false);
        },
      );
    };
  }

  /** What to do when nothing was accepted. */
  get advice(): string {
    const { label, askPassword, person } = this.#options;
    const takesPassword = this.#accepts?.some((way) => way === "password" || way === "keyboard-interactive");
    const copy = `put a key of yours on it: ssh-copy-id ${label}`;
    if (takesPassword && !askPassword) return `${copy}; it also takes passwords (--ask-password)`;
    if (takesPassword && !person) return `${copy}; a password can be asked on a terminal only`;
    return `name the right key as IdentityFile in ssh_config or load it with ssh-add, or ${copy}`;
  }

  /** Somebody whose thinking is not on the login's time. */
  #patient(person: Person): Person {
    const patiently = async <T>(answer: Promise<T>): Promise<T> => {
      this.watch.pause();
      return await answer.finally(() => this.watch.resume());
    };
    return {
      confirm: (question) => patiently(person.confirm(question)),
      secret: (question) => patiently(person.secret(question)),
    };
  }

  async *#ways(): AsyncGenerator<AnyAuthMethod, void, void> {
    const { settings } = this.#options;
    // ssh asks so what the host takes, and some hosts take it.
    yield { type: "none", username: settings.user };
    if (settings.allows.publicKey && this.#takes("publickey")) yield* this.#keys();
    if (!this.#options.askPassword || !this.#options.person) return;
    if (settings.allows.keyboard && this.#takes("keyboard-interactive")) yield* this.#keyboard(this.#options.person);
    if (settings.allows.password && this.#takes("password")) yield* this.#passwords(this.#options.person);
  }

  #takes(way: string): boolean {
    // After a key that was accepted but did not suffice, ssh2 keeps to itself what the host wants next.
    if (this.#hasSigned || !this.#accepts || this.#accepts.includes(way)) return true;
    this.tried.push(`${way}: the host does not take it`);
    return false;
  }

  async *#keys(): AsyncGenerator<AnyAuthMethod, void, void> {
    const { settings, keyRing, person } = this.#options;
    const parse = this.#ssh2.utils.parseKey;
    const found = await findIdentities(settings, parse);
    this.tried.push(...found.left);
    this.#keysForSystem = found.needsSystem;
    const username = settings.user;
    if (found.offered.length > 0) yield { type: "agent", username, agent: this.#agent(found, parse) };
    for (const { path } of found.sealed) {
      const key = await keyRing.unlock(path, parse, person).catch((error: Error) => error);
      this.tried.push(`${path}: ${key instanceof Error ? key.message : "refused"}`);
      if (key instanceof Error) continue;
      this.by = path;
      yield { type: "publickey", username, key: key as unknown as string };
    }
    if (found.offered.length + found.sealed.length === 0) {
      this.tried.push(
        `no key: ${settings.identityFiles.length} files looked for, such as ${settings.identityFiles.at(-1)}`,
      );
    }
  }

  /** Offers public keys, and makes signatures when the host would accept one: only then a passphrase is asked for. */
  #agent(found: Identities, parse: ParseKey): BaseAgent {
    const { tried } = this;
    const { keyRing, person } = this.#options;
    const real = found.agentSocket ? this.#ssh2.createAgent(found.agentSocket) : undefined;
    const at = tried.length;
    tried.push(...found.offered.map(({ label }) => `${label}: refused`));
    const outcome = (identity: Identity, words: string) => {
      tried[at + found.offered.indexOf(identity)] = `${identity.label}: ${words}`;
    };
    const sign = async (identity: Identity, data: Buffer, options: SigningRequestOptions): Promise<Buffer> => {
      this.#hasSigned = true;
      this.by = identity.label;
      outcome(identity, "accepted, but it does not suffice");
      if (identity.from === "agent") return signByAgent(real!, identity.publicKey, data, options);
      const key = identity.file.privateKey ?? (await keyRing.unlock(identity.file.path, parse, person));
      return key.sign(data, options.hash);
    };
    class Keys extends this.#ssh2.BaseAgent<ParsedKey> {
      getIdentities(done: (error: Error | undefined, keys?: ParsedKey[]) => void): void {
        done(
          undefined,
          found.offered.map(({ publicKey }) => publicKey),
        );
      }

      sign(key: ParsedKey, data: Buffer, options: SigningRequestOptions | SignCallback, done?: SignCallback): void {
        const identity = found.offered.find(({ publicKey }) => publicKey === key)!;
        sign(identity, data, options as SigningRequestOptions).then(
          (signature) => done?.(undefined, signature),
          (error: Error) => {
            outcome(identity, error.message);
            done?.(error);
          },
        );
      }
    }
    return new Keys() as BaseAgent;
  }

  async *#keyboard(person: Person): AsyncGenerator<AnyAuthMethod, void, void> {
    const { settings, label } = this.#options;
    for (let tries = 0; tries < PASSWORD_TRIES; tries++) {
      this.tried.push("keyboard-interactive: refused");
      this.by = "keyboard-interactive";
      yield {
        type: "keyboard-interactive",
        username: settings.user,
        prompt: (_name, _instructions, _language, prompts, finish) => {
          void answer(
            person,
            label,
            prompts.map(({ prompt }) => prompt),
          ).then(finish);
        },
      };
    }
  }

  async *#passwords(person: Person): AsyncGenerator<AnyAuthMethod, void, void> {
    const { settings, label } = this.#options;
    for (let tries = 0; tries < PASSWORD_TRIES; tries++) {
      const password = await person.secret(`Password of ${label}${tries > 0 ? " (that was not it)" : ""}`);
      if (password === undefined) return;
      this.tried.push("password: refused");
      this.by = "password";
      yield { type: "password", username: settings.user, password };
    }
  }
}

function signByAgent(agent: BaseAgent, key: ParsedKey, data: Buffer, options: SigningRequestOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    agent.sign(key as never, data, options, (error, signature) => {
      if (signature) resolve(signature);
      else reject(new Error(`the agent did not sign: ${error?.message ?? "no reason given"}`));
    });
  });
}

async function answer(person: Person, label: string, prompts: string[]): Promise<string[]> {
  const answers: string[] = [];
  for (const prompt of prompts) answers.push((await person.secret(`${label}: ${foreignWords(prompt)}`)) ?? "");
  return answers;
}
