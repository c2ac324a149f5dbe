// Joining a mesh with a token: both sides of it. What is said in which order is in core/identity/join.ts.
import { MeshError } from "../errors.ts";
import type { SavedNode } from "../identity/credentials.ts";
import { identityFrom } from "../identity/identity.ts";
import {
  checkJoined,
  checkJoinRequest,
  checkPinned,
  type Joined,
  type JoinRequest,
  joinRequest,
} from "../identity/join.ts";
import { createKeyPair } from "../identity/keys.ts";
import type { Role } from "../identity/names.ts";
import type { Token } from "../identity/token.ts";
import { controlFrame, readBody } from "../session/control-body.ts";
import { type Dialect, Refusal, readRefused, writeRefused } from "../session/refusal.ts";
import type { Link, Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";
import { MessageType, messageTypeName } from "../wire/message-types.ts";

const JOIN_LIMIT_MS = 15_000;

export interface JoinOptions {
  /** Addresses of the coordinator, tried one after the other. */
  addresses: readonly string[];
  token: Token;
  role: Role;
  name: string;
  /** Dials without a certificate. */
  transport: Transport;
  signal?: AbortSignal;
}

/**
 * Becomes a node of the token's mesh. Throws AUTHENTICATION when somebody else answers or the token is refused, with the
 * coordinator's words; UNREACHABLE, TIMEOUT or CANCELLED when nobody answers.
 */
export async function joinMesh(options: JoinOptions): Promise<SavedNode> {
  const { token, role, name } = options;
  const { publicKey, keyPem } = createKeyPair();
  const link = await dialAny(options);
  const joined = await converse(link, options, publicKey);
  const { certificatePem, caPem, meshId, meshName, coordinators } = checkJoined(
    joined,
    token,
    { meshId: token.meshId, role, name, publicKey },
    Date.now(),
  );
  const credentials = { certificatePem, caPem, keyPem };
  return { ...identityFieldsOf(credentials), meshId, meshName, coordinators, credentials };
}

function identityFieldsOf(credentials: SavedNode["credentials"]) {
  const { role, name } = identityFrom(credentials);
  return { role, name };
}

async function dialAny({ addresses, transport, signal }: JoinOptions): Promise<Link> {
  const failures: unknown[] = [];
  for (const address of addresses) {
    try {
      return await transport.dial(address, { ...(signal && { signal }) });
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length === 1) throw failures[0];
  const words = failures.map((error) => (error as Error).message).join("; ");
  throw new MeshError("UNREACHABLE", words || "no address of the coordinator was given", { cause: failures[0] });
}

/** Waits for the challenge, asks, and waits for the answer. */
async function converse(link: Link, options: JoinOptions, publicKey: Uint8Array): Promise<unknown> {
  const codec = new Codec();
  const { token, role, name } = options;
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const timer = setTimeout(() => link.destroy(late(link)), JOIN_LIMIT_MS);
  let asked = false;
  const take = (frame: Uint8Array) => {
    const type = frame[0]!;
    if (type === MessageType.challenge && !asked) {
      checkCoordinator(link, readBody(codec, frame, 0, frame.length, "a challenge").ca, token);
      asked = true;
      link.send(controlFrame(codec, MessageType.join, { ...joinRequest(token, role, name, publicKey) }));
    } else if (type === MessageType.joined && asked) resolve(codec.decodeControl(frame.subarray(1)));
    else if (type === MessageType.refused) throw refused(link, readRefused(codec, frame, 0, frame.length).reason);
    else throw outOfTurn(link, type);
  };
  link.attach({
    frame: (frame) => {
      try {
        take(frame);
      } catch (error) {
        link.destroy(error as Error);
      }
    },
    drained: () => {},
    closed: (error) => reject(error ?? new MeshError("LINK_CLOSED", `${link.label} ended without an answer`)),
  });
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    link.close();
  }
}

/** Before the token's secret is said: whoever answers is the coordinator of the token's mesh. */
function checkCoordinator({ label, tls }: Link, ca: unknown, { pin }: Token): void {
  if (typeof ca !== "string") throw new MeshError("AUTHENTICATION", `${label} is no coordinator: nobody joins there`);
  if (!tls?.peerCertificate) throw new MeshError("AUTHENTICATION", `${label} shows no certificate`);
  checkPinned(ca, tls.peerCertificate, pin, Date.now());
}

function late({ label }: Link): MeshError {
  return new MeshError("TIMEOUT", `${label}: the coordinator did not answer within ${JOIN_LIMIT_MS / 1000} s`);
}

function outOfTurn({ label }: Link, type: number): MeshError {
  return new MeshError("PROTOCOL", `${label} sent ${messageTypeName(type)} where the answer to a join was due`);
}

function refused(link: Link, reason: string): MeshError {
  return new MeshError("AUTHENTICATION", `the coordinator at ${link.label} refused: ${reason}`);
}

/** The coordinator's side: answers the join frame of a stranger, then ends the link. */
export async function answerJoin(
  link: Link,
  frame: Uint8Array,
  dialect: Dialect,
  admit: (request: JoinRequest) => Promise<Joined>,
): Promise<void> {
  const codec = new Codec();
  try {
    const request = checkJoinRequest(readBody(codec, frame, 0, frame.length, "a join"));
    link.send(controlFrame(codec, MessageType.joined, { ...(await admit(request)) }));
  } catch (error) {
    const refusal = new Refusal("STRANGER", (error as Error).message);
    link.send(writeRefused(codec, refusal, dialect));
  }
  link.close();
}
