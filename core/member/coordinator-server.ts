// A running coordinator: the library of core/coordinator with sessions, certificates and the sockets where others come in.
import { chmodSync, rmSync } from "node:fs";
import { hostname, totalmem } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock, type Timer } from "../clock.ts";
import { Coordinator } from "../coordinator/coordinator.ts";
import { FolderLock } from "../coordinator/folder-lock.ts";
import type { StartDetached } from "../coordinator/submissions.ts";
import { type RunningBeacon, startBeacon } from "../discovery/announce.ts";
import { MeshError } from "../errors.ts";
import { MeshCa } from "../identity/ca.ts";
import { type Identity, identityFrom } from "../identity/identity.ts";
import { ADDRESS_LIMIT, type CertifyRequest, type Joined, type JoinRequest } from "../identity/join.ts";
import { createKeyPair } from "../identity/keys.ts";
import { derOf } from "../identity/pem.ts";
import { makePrivateFolder } from "../identity/private-files.ts";
import { Renewal } from "../identity/renewal.ts";
import { Revocations } from "../identity/revocations.ts";
import { TokenStore } from "../identity/token-store.ts";
import { Trust } from "../identity/trust.ts";
import { verifyCertificate } from "../identity/verify.ts";
import type { Log } from "../log.ts";
import type { Node } from "../node/node.ts";
import { Rendezvous, type RendezvousOptions } from "../rendezvous/rendezvous.ts";
import type { RendezvousSettings } from "../rendezvous/settings.ts";
import { reportOf } from "../rendezvous/tally.ts";
import type { Phase, Timing } from "../session/machine/liveness.ts";
import type { PeerSession } from "../session/peer-session.ts";
import { SPOKEN } from "../session/refusal.ts";
import type { Link, Listener, MeshTransport, Transport } from "../transport.ts";
import { CERTIFICATE_SOCKET, listenForCertificateRequests } from "./certificate-socket.ts";
import { Connections } from "./connections.ts";
import { answerJoin } from "./join.ts";
import type { Listening } from "./listening.ts";

export interface CoordinatorServerOptions extends Listening {
  node: Node;
  meshName: string;
  /** The mesh's state folder. */
  folder: string;
  /** Takes strangers too: they may join. */
  transport(credentials: () => Identity["credentials"]): MeshTransport;
  unix: Transport;
  advertise: readonly string[];
  rendezvous: RendezvousSettings & Pick<RendezvousOptions, "usesUdp">;
  version: string;
  /** The commit this binary was built from. */
  commit: string;
  /** Both, for people: what nodes of other builds are told. */
  build: string;
  timing: Partial<Timing>;
  log: Log;
  startDetached: StartDetached;
  /** Somebody killed the coordinator by its name. */
  stop(): void;
  leaseMs?: number;
  /** Whether nodes of the LAN are told where it listens. */
  isDiscoverable: boolean;
  clock?: Clock;
}

/** The name of every coordinator's node. */
export const COORDINATOR_NAME = "coordinator";

export class CoordinatorServer {
  readonly meshId: string;
  readonly #options: CoordinatorServerOptions;
  readonly #ca: MeshCa;
  readonly #tokens: TokenStore;
  readonly #revocations: Revocations;
  readonly #trust: Trust;
  readonly #coordinator: Coordinator;
  readonly #connections: Connections;
  #rendezvous: Rendezvous | undefined;
  readonly #renewal: Renewal;
  readonly #transport: MeshTransport;
  #identity: Identity;
  readonly #phases = new Map<number, Phase>();
  #watch: Timer | undefined;
  #socket: Listener | undefined;
  #beacon: RunningBeacon | undefined;

  /** Opens the state folder, and makes the mesh's CA when there is none. Throws what Coordinator, MeshCa and Trust throw. */
  static async open(options: CoordinatorServerOptions): Promise<CoordinatorServer> {
    const lock = new FolderLock(options.folder);
    try {
      const folder = join(options.folder, "ca");
      makePrivateFolder(folder);
      const ca = MeshCa.open(folder) ?? (await MeshCa.create(folder, { nowMs: Date.now() }));
      return new CoordinatorServer(options, lock, ca, await ownIdentity(ca));
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  private constructor(options: CoordinatorServerOptions, lock: FolderLock, ca: MeshCa, identity: Identity) {
    const { node, folder, log, clock = systemClock } = options;
    this.#options = options;
    this.#ca = ca;
    this.meshId = ca.meshId;
    this.#identity = identity;
    this.#revocations = new Revocations(join(folder, "revocations.json"));
    this.#trust = new Trust(ca.trust(Date.now()), this.#revocations);
    this.#tokens = new TokenStore({
      path: join(folder, "tokens.json"),
      ca,
      audit: ({ event, ...fields }) => log.warn(event, fields),
    });
    this.#transport = options.transport(() => this.#identity.credentials);
    this.#connections = this.#connect(clock);
    this.#coordinator = this.#makeCoordinator(lock);
    this.#renewal = new Renewal({
      clock,
      wallClock: Date.now,
      random: Math.random,
      validity: { notBefore: identity.notBefore, notAfter: identity.expiresAt },
      renew: () => this.#renew(),
      failed: (error) => log.error("own certificate not renewed", { error: (error as Error).message }),
    });
    this.#watchSessions(clock);
    node.onDrained = (peer) => this.#coordinator.peerDrained(peer.node);
    node.onProblem = (error) => log.warn("message not handled", { error: (error as Error).message });
  }

  /** Where it listens, as others are told. */
  get addresses(): string[] {
    return this.#connections.addresses;
  }

  /** Listens. Throws UNREACHABLE when an address cannot be had. */
  async start(): Promise<void> {
    const { unix, folder } = this.#options;
    await this.#connections.listen();
    this.#coordinator.listening(this.addresses);
    this.#rendezvous = await this.#startRendezvous();
    const socket = join(folder, CERTIFICATE_SOCKET);
    rmSync(socket, { force: true }); // one that was killed left it; the folder's lock says that it is gone
    this.#socket = await listenForCertificateRequests(unix, socket, (request) => this.#certifyLocal(request));
    chmodSync(socket, 0o600);
    if (this.#options.isDiscoverable) this.#beacon = await this.#startBeacon();
  }

  /** Ends all nodes of the mesh, and their jobs. Throws TIMEOUT naming what is still there. */
  endAll(): Promise<void> {
    return this.#coordinator.endAll();
  }

  /** Lets go of everything; nodes and jobs go on without it. */
  async close(): Promise<void> {
    this.#watch?.cancel();
    this.#beacon?.close();
    this.#renewal[Symbol.dispose]();
    await this.#rendezvous?.close();
    await this.#socket?.close();
    await this.#connections.close();
    await this.#coordinator.close();
  }

  #connect(clock: Clock): Connections {
    const { log } = this.#options;
    const others = () => this.#connections.peers.all().filter(({ role }) => role === "rendezvous");
    return new Connections({
      ...this.#options,
      clock,
      identity: () => this.#identity,
      trust: this.#trust,
      transport: this.#transport,
      // Where nobody can dial the coordinator either, other rendezvous help.
      known: () => others().map(({ info }) => info),
      begun: ({ node, name, role }) => {
        this.#tellPhases(); // it may replace one of its name that was killed
        this.#coordinator.peerUp({ node, name, role });
        log.info("node connected", { name, role, node });
      },
      ended: (session) => this.#sessionEnded(session),
      refused: (error) => log.warn("link refused", { error: error.message }),
      strangers: {
        ca: () => this.#ca.certificatePem,
        joins: (link, frame) => void this.#stranger(link, frame.slice()),
      },
    });
  }

  /** A mesh without one works, as far as its nodes can dial each other: nobody asked for it here. */
  async #startRendezvous(): Promise<Rendezvous | undefined> {
    const { node, log, rendezvous, clock = systemClock } = this.#options;
    try {
      return await Rendezvous.start({
        node,
        role: "coordinator",
        peers: (other) => this.#connections.peers.get(other),
        clock,
        log,
        ...rendezvous,
      });
    } catch (error) {
      log.warn("no rendezvous here", { error: (error as Error).message });
      return undefined;
    }
  }

  #makeCoordinator(lock: FolderLock): Coordinator {
    const { node, meshName, folder, version, commit, startDetached, stop, log, leaseMs } = this.#options;
    return new Coordinator({
      node,
      name: COORDINATOR_NAME,
      mesh: { id: this.meshId, name: meshName },
      folder,
      lock,
      version,
      build: commit,
      machine: {
        host: hostname(),
        cores: navigator.hardwareConcurrency,
        arch: process.arch,
        memoryBytes: totalmem(),
      },
      identity: {
        ca: {
          issue: (request, options) => this.#ca.issue(request, options),
          rotate: (options) => this.#rotate(options),
          trust: (nowMs) => this.#ca.trust(nowMs),
          overlapUntil: (nowMs) => this.#ca.overlapUntil(nowMs),
        },
        tokens: this.#tokens,
        revocations: this.#revocations,
        expiryOf: (pem) => verifyCertificate(derOf(pem), this.#trust, Date.now()).notAfter,
      },
      startDetached,
      dropRevoked: () => this.#dropRevoked(),
      pathTo: (other) => this.#connections.paths.pathTo(other),
      rendezvous: () => this.#rendezvous && reportOf(this.#rendezvous.metrics),
      explainPath: (body) => this.#connections.paths.explain(body),
      stop,
      audit: (event, fields) => log.info(event, fields),
      onProblem: (error) => log.warn("problem", { error: (error as Error).message }),
      ...(leaseMs !== undefined && { leaseMs }),
    });
  }

  #startBeacon(): Promise<RunningBeacon> {
    const { node, meshName, log, clock = systemClock } = this.#options;
    return startBeacon({
      identity: () => this.#identity,
      node: node.address.node,
      meshName,
      addresses: () => this.addresses,
      clock,
      warn: (text) => log.warn("discovery", { text }),
    });
  }

  #sessionEnded({ node, name, role, main, error }: PeerSession): void {
    const lost = main.peerLeft ? undefined : error;
    this.#coordinator.peerDown({ node, role }, lost);
    this.#rendezvous?.peerGone(node);
    this.#options.log.info(lost ? "node lost" : "node left", { name, role, node, error: lost?.message });
  }

  #watchSessions(clock: Clock): void {
    this.#watch = clock.after(WATCH_MS, () => {
      this.#tellPhases();
      this.#watchSessions(clock);
    });
  }

  /** Tells the coordinator how its sessions are: a node between two links keeps nobody from its name. */
  #tellPhases(): void {
    for (const { node, state } of this.#connections.peers.all()) {
      const { phase } = state;
      if (this.#phases.get(node) === phase) continue;
      this.#phases.set(node, phase);
      if (phase === "up" || phase === "suspect" || phase === "detached") this.#coordinator.peerState(node, phase);
    }
    for (const node of this.#phases.keys()) if (!this.#connections.peers.get(node)) this.#phases.delete(node);
  }

  /** Somebody without a certificate asks for one. */
  async #stranger(link: Link, frame: Uint8Array): Promise<void> {
    const dialect = { build: this.#options.build, protocol: SPOKEN };
    await answerJoin(link, frame, dialect, async (request) => {
      this.#checkName(request);
      this.#tokens.redeem(request, Date.now());
      return await this.#certificateFor(request);
    });
  }

  /** The own user asks on this machine: heads, commands, and a worker beside the coordinator. */
  async #certifyLocal({ publicKey, role, name }: CertifyRequest): Promise<Joined> {
    if (role === undefined || name === undefined || role === "coordinator") {
      throw new MeshError("PROTOCOL", "who asks for a certificate here says its name and role: worker, head or client");
    }
    this.#checkName({ role, name });
    return await this.#certificateFor({ publicKey, role, name });
  }

  #checkName({ role, name }: Pick<JoinRequest, "role" | "name">): void {
    this.#tellPhases(); // one that was killed may be back at once
    if (name !== COORDINATOR_NAME && !this.#coordinator.isNameTaken(name)) return;
    const message = `a node named ${name} is in the mesh already: choose another name for this ${role}`;
    throw new MeshError("AUTHENTICATION", message);
  }

  async #certificateFor({ role, name, publicKey }: Pick<JoinRequest, "role" | "name" | "publicKey">): Promise<Joined> {
    const nowMs = this.#revocations.issueTime(name, Date.now());
    const certificatePem = await this.#ca.issue({ role, name, publicKey }, { nowMs });
    const { meshName } = this.#options;
    const coordinators = this.addresses.slice(0, ADDRESS_LIMIT);
    return { certificatePem, caPem: this.#ca.trust(Date.now()), meshId: this.meshId, meshName, coordinators };
  }

  async #rotate(options: Parameters<MeshCa["rotate"]>[0]): Promise<void> {
    await this.#ca.rotate(options);
    this.#trust.replace(this.#ca.trust(Date.now()));
    await this.#renew();
  }

  #dropRevoked(): void {
    this.#trust.replace(this.#ca.trust(Date.now()));
    this.#connections.peers.revoke((serial, name, notBefore) => this.#revocations.isRevoked(serial, name, notBefore));
  }

  async #renew(): Promise<{ notBefore: number; notAfter: number }> {
    this.#trust.replace(this.#ca.trust(Date.now()));
    this.#identity = await ownIdentity(this.#ca);
    return { notBefore: this.#identity.notBefore, notAfter: this.#identity.expiresAt };
  }
}

const WATCH_MS = 500;

/** A certificate for the coordinator itself; its key is never on disk. */
async function ownIdentity(ca: MeshCa): Promise<Identity> {
  const { publicKey, keyPem } = createKeyPair();
  const nowMs = Date.now();
  const certificatePem = await ca.issue({ role: "coordinator", name: COORDINATOR_NAME, publicKey }, { nowMs });
  return identityFrom({ caPem: ca.trust(nowMs), certificatePem, keyPem });
}
