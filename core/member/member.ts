// A node's membership in its mesh: joins the coordinator and comes back to it, knows who else is there and makes sessions
// to them when something is to be sent, and keeps the certificate fresh. Must not know what the node is for.
import type { Clock, Timer } from "../clock.ts";
import type { Certified, Introduced, MembershipUpdate, NodeInfo, Revoked } from "../coordinator/answers.ts";
import type { Register, Report } from "../coordinator/bodies.ts";
import { readCoordinatorPlace } from "../coordinator/folder-lock.ts";
import { type MembershipChange, MembershipView } from "../coordinator/membership-view.ts";
import { explainPath } from "../coordinator/path-report.ts";
import { isMeshError, MeshError, type MeshErrorCode } from "../errors.ts";
import { type Credentials, type Identity, identityFrom } from "../identity/identity.ts";
import { checkCertified } from "../identity/join.ts";
import { createKeyPair } from "../identity/keys.ts";
import { Renewal } from "../identity/renewal.ts";
import { checkRevocations, Revocations } from "../identity/revocations.ts";
import { stateFolderPath } from "../identity/state-folder.ts";
import { Trust } from "../identity/trust.ts";
import { isOutdated } from "../identity/verify.ts";
import type { Log } from "../log.ts";
import type { Node } from "../node/node.ts";
import type { Timing } from "../session/machine/liveness.ts";
import type { PeerInfo, PeerSession } from "../session/peer-session.ts";
import type { MeshTransport } from "../transport.ts";
import { checkBody } from "../wire/body-checks.ts";
import type { Address } from "../wire/message.ts";
import { MessageType } from "../wire/message-types.ts";
import { reachableAddresses } from "./addresses.ts";
import { Connections } from "./connections.ts";
import type { Listening } from "./listening.ts";

export interface MemberOptions extends Listening {
  node: Node;
  identity: Identity;
  meshName: string;
  /** Addresses of the coordinator. */
  coordinators: readonly string[];
  transport: MeshTransport;
  /** What to tell others instead of what is found: for nodes behind a port-forwarding router. */
  advertise?: readonly string[];
  /** More ways to a peer than its addresses; see PeersOptions. */
  waysTo?(addresses: readonly string[]): readonly string[];
  build: string;
  timing: Partial<Timing>;
  clock: Clock;
  log: Log;
  /** What the coordinator is told of this node. */
  facts: Omit<Register, "addresses">;
  /** Measured for the coordinator every 2 s. */
  report?(): Omit<Report, "peers">;
  /** Keeps a renewed certificate for the next start. */
  save?(credentials: Credentials): void;
  /** Who is in the mesh has changed. */
  changed(changes: readonly MembershipChange[]): void;
  /** The coordinator was not reached, and is tried again: before `start` has resolved, with `isPatient`. */
  notReached?(error: MeshError): void;
  /** Registered, the first time or again after the coordinator was away. */
  registered?(coordinator: Address): void;
}

/** node -> those it has a session with. */
interface Retiring {
  /** Where it listens now. */
  addresses: string[];
}

const REPORT_MS = 2_000;
const CONNECT_LIMIT_MS = 10_000;
const REGISTER_LIMIT_MS = 10_000;
/** Who is in the mesh is told right after registering; a job may begin without. */
const VIEW_LIMIT_MS = 2_000;
/** The first pause before the coordinator is tried again, and the longest. */
const RETRY_FIRST_MS = 100;
const RETRY_LAST_MS = 2_000;

export class Member {
  readonly view = new MembershipView();
  readonly #options: MemberOptions;
  readonly #connections: Connections;
  readonly #trust: Trust;
  readonly #revocations = new Revocations();
  readonly #renewal: Renewal;
  readonly #viewed = Promise.withResolvers<void>();
  /** Nodes that the coordinator has lost, and this one has not: there is a session with them. */
  readonly #kept = new Map<number, NodeInfo>();
  #identity: Identity;
  #coordinator: PeerSession | undefined;
  #isRegistered = false;
  #revokedVersion = 0;
  #closed = false;
  #isRetiring = false;
  #report: Timer | undefined;
  #tries = 0;

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#identity = options.identity;
    this.#trust = new Trust(options.identity.credentials.caPem, this.#revocations);
    this.#connections = new Connections({
      ...options,
      identity: () => this.#identity,
      trust: this.#trust,
      known: () => [...this.#rendezvous(), ...this.#coordinatorInfo()],
      refused: (error) => options.log.warn("link refused", { error: error.message }),
      introduce: (node) => this.#askIntroduction(node),
      dial: (node) => this.#dial(node),
    });
    this.#renewal = new Renewal({
      clock: options.clock,
      wallClock: Date.now,
      random: Math.random,
      validity: { notBefore: options.identity.notBefore, notAfter: options.identity.expiresAt },
      renew: () => this.#renew(),
      failed: (error, retryInMs) =>
        options.log.warn("certificate not renewed", { error: wordsOf(error), retryInS: Math.round(retryInMs / 1000) }),
    });
    this.#handleMessages();
  }

  /** Address of the coordinator's node, while there is a session to it. */
  get coordinator(): Address | undefined {
    return this.#coordinator && { node: this.#coordinator.node, slot: 0 };
  }

  /** Whether the coordinator knows this node and can be asked now. */
  get isConnected(): boolean {
    return this.#isRegistered && this.#coordinator?.isUp === true;
  }

  /** Where this node listens, as others are told. */
  get addresses(): string[] {
    return this.#connections.addresses;
  }

  /** The credentials in use; others after a renewal. */
  get credentials(): Credentials {
    return this.#identity.credentials;
  }

  /** The session with that node, if there is one. */
  sessionWith(node: number): PeerSession | undefined {
    return this.#connections.peers.get(node);
  }

  /** Whether it has given up its name: what is saved under that is its successor's. */
  get isRetiring(): boolean {
    return this.#isRetiring;
  }

  /** Who is in the mesh: also those that are out of the coordinator's reach and not of this node's. */
  get nodes(): NodeInfo[] {
    return [...this.view.nodes(), ...this.#kept.values()];
  }

  /**
   * Listens and joins. Rejects with the reason when the coordinator does not want this node, or cannot be reached; with
   * `isPatient` it is then tried until it can be, or `close`.
   */
  async start({ isPatient = false }: { isPatient?: boolean } = {}): Promise<void> {
    await this.#connections.listen();
    await this.#joinFirst(isPatient);
    await Promise.race([this.#viewed.promise, Bun.sleep(VIEW_LIMIT_MS)]);
    if (this.#options.report) this.#reportLater();
  }

  /** A session has ended: to be called for every peer the node loses. */
  peerLost(peer: Address, error?: Error): void {
    const kept = this.#kept.get(peer.node);
    if (kept) this.#tell([{ kind: "offline", node: kept }]);
    if (peer.node !== this.#coordinator?.node) return;
    this.#coordinator = undefined;
    this.#isRegistered = false;
    if (this.#closed) return;
    this.#options.log.warn("coordinator lost", { error: error?.message });
    this.#joinAgain();
  }

  /**
   * Gives up the node's name: whoever comes under it from now on replaces nobody. The node stays for those it has to do
   * with. Resolves when the coordinator knows; one that cannot be reached now is told when it is back.
   */
  async retire(): Promise<void> {
    if (!this.#isRetiring) {
      this.#isRetiring = true;
      await this.#connections.leavePorts();
    }
    for (const { node, role } of this.#connections.peers.all()) {
      const body: Retiring = { addresses: this.addresses };
      if (role !== "coordinator") this.#options.node.notify({ node, slot: 0 }, MessageType.retiring, body);
    }
    if (!this.isConnected) return;
    await this.#register().catch((error) => this.#options.log.warn("coordinator not told", { error: wordsOf(error) }));
  }

  /** Leaves the mesh: tells all peers and stops listening. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#report?.cancel();
    this.#renewal[Symbol.dispose]();
    await this.#connections.close();
  }

  #handleMessages(): void {
    const { node } = this.#options;
    node.handle(MessageType.register, () => this.#isRegistered && void this.#register().catch(() => {}));
    node.onNoRoute = (number) => this.#dial(number);
    node.handle(MessageType.membership, ({ payload, fromNode }) =>
      this.#membership(fromNode, node.codec.decode(payload) as MembershipUpdate),
    );
    node.handle(MessageType.introduce, ({ payload }) => {
      const { node: number, name, role, addresses } = node.codec.decode(payload) as Introduced;
      if (!this.#connections.peers.get(number)) this.#connections.peers.to({ node: number, name, role, addresses });
    });
    node.handle(MessageType.retiring, ({ fromNode, payload }) => {
      const { addresses } = node.codec.decode(payload) as Retiring;
      this.#connections.peers.get(fromNode)?.addAddresses(addresses);
      this.#tell(this.view.retire(fromNode));
    });
    node.handleRequest(MessageType.explainPath, (body) =>
      this.#connections.paths.explain(checkBody(explainPath, "explainPath", body)),
    );
    node.handle(MessageType.revoked, ({ payload }) => this.#revoked(node.codec.decode(payload) as Revoked));
  }

  /** Makes a session to a node of the mesh, because something is to be sent there. */
  #dial(number: number): void {
    const info = this.view.get(number);
    if (!info || info.state === "down") return;
    const { node, name, role, addresses, host } = info;
    const reachable = reachableAddresses(addresses, host === this.#options.facts.host);
    this.#connections.peers.to({ node, name, role, addresses: reachable });
  }

  async #joinFirst(isPatient: boolean): Promise<void> {
    for (;;) {
      try {
        return await this.#join();
      } catch (error) {
        const isAway = ["UNREACHABLE", "TIMEOUT", "LINK_CLOSED"].some((code) =>
          isMeshError(error, code as MeshErrorCode),
        );
        if (!isPatient || !isAway || this.#closed) throw error;
        this.#options.notReached?.(error as MeshError);
        if (this.#tries++ % 30 === 0) this.#options.log.warn("coordinator not reached yet", { error: wordsOf(error) });
        await new Promise<void>((next) => this.#options.clock.after(this.#retryDelay(), next));
      }
    }
  }

  #retryDelay(): number {
    return Math.min(RETRY_FIRST_MS * 2 ** Math.min(this.#tries, 10), RETRY_LAST_MS) * (0.5 + Math.random());
  }

  async #join(): Promise<void> {
    const { log } = this.#options;
    const limit = { timeoutMs: CONNECT_LIMIT_MS, once: true };
    const session = await this.#connections.peers.connect(this.#coordinatorAddresses, { role: "coordinator" }, limit);
    this.#coordinator = session;
    await this.#register();
    log.info("joined", { mesh: this.#options.meshName, coordinator: session.path?.address });
  }

  /** Where the coordinator may be: also where one on this machine says that it is now. */
  get #coordinatorAddresses(): string[] {
    const { coordinators, meshName } = this.#options;
    return [...new Set([...coordinators, ...addressesOnThisMachine(meshName)])];
  }

  async #register(): Promise<void> {
    const { node, facts, registered } = this.#options;
    const { coordinator } = this;
    if (!coordinator) throw new MeshError("LINK_CLOSED", "there is no session to the coordinator");
    const isRetiring = this.#isRetiring;
    const body: Register = { ...facts, addresses: this.addresses, ...(isRetiring && { retiring: true }) };
    await node.request(coordinator, MessageType.register, body, { timeoutMs: REGISTER_LIMIT_MS });
    if (isRetiring !== this.#isRetiring) return await this.#register();
    this.#isRegistered = true;
    this.#tries = 0;
    registered?.(coordinator);
  }

  /** Tries until it works: in between the mesh goes on without its coordinator. */
  #joinAgain(): void {
    const delay = this.#retryDelay();
    this.#tries++;
    this.#options.clock.after(delay, () => {
      if (this.#closed || this.#isRegistered) return;
      this.#join().catch((error) => {
        if (this.#tries % 10 === 1) this.#options.log.warn("coordinator not reached", { error: wordsOf(error) });
        // While there is a session its end leads here again.
        if (this.#coordinator && isMeshError(error, "LINK_CLOSED")) return;
        this.#joinAgain();
      });
    });
  }

  #membership(from: number, update: MembershipUpdate): void {
    const changes = this.view.apply(from, update);
    if (changes) {
      this.#tell(changes.flatMap((change) => this.#judge(change)));
      // Where others ask for this node: it has to be there.
      for (const info of this.#rendezvous())
        if (info.node !== this.#options.node.address.node) this.#connections.peers.to(info);
      this.#viewed.resolve();
    } else this.#options.node.notify({ node: from, slot: 0 }, MessageType.membership, {});
  }

  /** What the coordinator has lost is not gone as long as there is a session with it. */
  #judge(change: MembershipChange): MembershipChange[] {
    const { kind, node } = change;
    if (kind === "offline" && this.#connections.peers.get(node.node)?.main.isConfirmed) {
      this.#kept.set(node.node, node);
      return [];
    }
    const replaced = [...this.#kept.values()].filter((other) => isReplaced(other, node));
    this.#kept.delete(node.node);
    return [...replaced.map((other): MembershipChange => ({ kind: "offline", node: other })), change];
  }

  #tell(changes: readonly MembershipChange[]): void {
    for (const { kind, node } of changes) if (kind === "offline") this.#kept.delete(node.node);
    if (changes.length > 0) this.#options.changed(changes);
  }

  /** Those of the mesh that are nothing else. */
  #rendezvous(): PeerInfo[] {
    return this.view.nodes().filter(({ role, state }) => role === "rendezvous" && state !== "down");
  }

  #coordinatorInfo(): PeerInfo[] {
    return this.#coordinator ? [this.#coordinator.info] : [];
  }

  /** Asks by way of the coordinator that a node dials us, which we cannot dial. */
  #askIntroduction(node: number): void {
    const { coordinator } = this;
    if (!coordinator || coordinator.node === node) return;
    this.#options.node
      .request(
        coordinator,
        MessageType.introduce,
        { node, addresses: this.addresses },
        { timeoutMs: REGISTER_LIMIT_MS },
      )
      .catch((error) => this.#options.log.warn("not introduced", { node, error: wordsOf(error) }));
  }

  #revoked({ version, list, caPem, renew }: Revoked): void {
    if (version <= this.#revokedVersion) return;
    this.#revokedVersion = version;
    this.#trust.replace(caPem);
    this.#identity = identityFrom({ ...this.#identity.credentials, caPem });
    this.#revocations.accept(checkRevocations(list));
    this.#connections.peers.revoke((serial, name, notBefore) => this.#revocations.isRevoked(serial, name, notBefore));
    // Who was away when the CA changed hears of it late, and only by its own certificate.
    if (renew || isOutdated(this.#identity.certificate, this.#trust)) this.#renewal.hurry(HURRY_MS);
  }

  async #renew(): Promise<{ notBefore: number; notAfter: number }> {
    const { node, identity, save, log } = this.#options;
    const { coordinator } = this;
    if (!coordinator) throw new MeshError("LINK_CLOSED", "there is no session to the coordinator");
    const { publicKey, keyPem } = createKeyPair();
    const answer = await node.request(
      coordinator,
      MessageType.certify,
      { publicKey },
      { timeoutMs: REGISTER_LIMIT_MS },
    );
    const { meshId, role, name } = identity;
    const certified: Certified = {
      ...checkCertified(answer, { meshId, role, name, publicKey }, Date.now()),
      expiresAt: 0,
    };
    const credentials = { keyPem, certificatePem: certified.certificatePem, caPem: certified.caPem };
    save?.(credentials);
    this.#trust.replace(certified.caPem);
    this.#identity = identityFrom(credentials);
    log.info("certificate renewed", { expires: new Date(this.#identity.expiresAt).toISOString() });
    return { notBefore: this.#identity.notBefore, notAfter: this.#identity.expiresAt };
  }

  #reportLater(): void {
    this.#report = this.#options.clock.after(REPORT_MS, () => {
      const { coordinator } = this;
      const { node, report } = this.#options;
      if (coordinator && this.isConnected) {
        node.notify(coordinator, MessageType.report, {
          ...report!(),
          peers: this.#connections.paths.peers,
        } satisfies Report);
      }
      this.#reportLater();
    });
  }
}

/** After a change of the CA all nodes ask for new certificates, within this time. */
const HURRY_MS = 10_000;

/** Addresses of a coordinator of this user on this machine; who answers there must have the mesh's certificate anyway. */
function addressesOnThisMachine(meshName: string): string[] {
  try {
    return readCoordinatorPlace(stateFolderPath(meshName))?.addresses ?? [];
  } catch {
    return []; // not this user's, or damaged: the coordinator itself says so when it starts
  }
}

/** Whether a node that was kept in view is gone because another one has its name. */
function isReplaced(kept: NodeInfo, { name, node, retiring }: NodeInfo): boolean {
  return kept.name === name && kept.node !== node && !kept.retiring && !retiring;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
