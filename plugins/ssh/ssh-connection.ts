// What a login over SSH is for: commands on the host, and streams between here and there. Two implementations: ssh2 in this
// process, and the system's `ssh` for hosts whose settings need what ssh2 lacks.
import type { Duplex } from "node:stream";
import type { Shell } from "../../core/bootstrap/shell.ts";
import type { MeshError } from "../../core/errors.ts";
import type { Person } from "../../core/provider.ts";
import type { Dialing } from "./dialing.ts";

/** A place on the host where connections are taken and handed to us; ended by disposal or with the SSH connection. */
export interface Forwarding extends AsyncDisposable {
  /** Of `forwardIn`: the port that the host chose or was told. 0 for a socket's path. */
  readonly port: number;
}

/** How a login came about. */
export interface LoginAccount {
  /** The host's public key as it goes over the wire. */
  hostKey: Buffer;
  /** What the host let us in by: "/home/alice/.ssh/id_ed25519", "agent: alice@desk", "password". */
  by: string;
}

export interface SshConnection extends Shell {
  /** "ssh2", or "ssh" for the system's own. */
  readonly means: "ssh2" | "ssh";
  /** Of ssh2 only: the system's ssh does not tell. */
  readonly account?: LoginAccount;
  /** Resolves once, when the connection is over: with the reason, or undefined when it was ended from here. */
  readonly closed: Promise<MeshError | undefined>;
  /**
   * The host listens on the Unix socket `path` (which must not exist there) and hands each connection over. The caller
   * removes the path after it. Throws UNREACHABLE where sshd forbids it (AllowStreamLocalForwarding).
   */
  forwardInUnix(path: string, onConnection: (stream: Duplex) => void): Promise<Forwarding>;
  /** The same on a TCP port of the host's loopback; 0 lets it choose. Throws UNREACHABLE (AllowTcpForwarding). */
  forwardIn(port: number, onConnection: (stream: Duplex) => void): Promise<Forwarding>;
  /** A connection from the host to `address`, as seen there. Throws UNREACHABLE. */
  forwardOut(address: { host: string; port: number } | { path: string }): Promise<Duplex>;
}

export interface SshOptions {
  signal?: AbortSignal;
  /** Somebody to ask: for passphrases, about unknown host keys, and for passwords with `askPassword`. */
  person?: Person;
  /** Whether that somebody is asked about unknown host keys; they are refused otherwise. Default true. */
  asksAboutKeys?: boolean;
  /** Unknown host keys are trusted and remembered; changed ones are refused all the same. */
  acceptNewKeys?: boolean;
  /** Passwords and keyboard-interactive may be tried, after all keys. */
  askPassword?: boolean;
  /** Another file than ~/.ssh/config, as with `ssh -F`. Default: MESH_SSH_CONFIG of the environment, if set. */
  configFile?: string;
  /** For each host on the way, up to the check of its key. Default: ConnectTimeout of ssh_config, or 10 s. */
  connectTimeoutMs?: number;
  /** How soon a host that is gone without a word is noticed. Default: ServerAliveInterval of ssh_config, or 3 times 15 s. */
  keepAlive?: { intervalMs: number; count: number };
  /** What it shares with other logins of the same command. */
  dialing?: Dialing;
}
