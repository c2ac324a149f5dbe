// The coordinator's socket on its own machine, which only its user can open. Who asks there gets a certificate without a
// token: the user's heads, commands and workers beside the coordinator.
import { MeshError } from "../errors.ts";
import { type CertifyRequest, checkCertifyRequest, type Joined } from "../identity/join.ts";
import type { Link, Listener, Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";

const REQUEST_LIMIT_BYTES = 4 * 1024;
const LIMIT_MS = 5_000;

/** Its name in the state folder of a mesh. */
export const CERTIFICATE_SOCKET = "coordinator.sock";

/** Answers requests for certificates at the socket `path`, until the listener is closed. */
export function listenForCertificateRequests(
  transport: Transport,
  path: string,
  certify: (request: CertifyRequest) => Promise<Joined>,
): Promise<Listener> {
  const codec = new Codec();
  return transport.listen(path, (link) => {
    link.setRef(false);
    const timer = setTimeout(() => link.destroy(new MeshError("TIMEOUT", `${link.label}: asked nothing`)), LIMIT_MS);
    link.attach({
      frame: (frame) => void answer(link, frame, codec, certify),
      drained: () => {},
      closed: () => clearTimeout(timer),
    });
  });
}

async function answer(
  link: Link,
  frame: Uint8Array,
  codec: Codec,
  certify: (request: CertifyRequest) => Promise<Joined>,
): Promise<void> {
  let reply: { joined: Joined } | { error: unknown };
  try {
    if (frame.length > REQUEST_LIMIT_BYTES) throw new MeshError("PROTOCOL", "a request for a certificate is too long");
    reply = { joined: await certify(checkCertifyRequest(codec.decodeControl(frame))) };
  } catch (error) {
    reply = { error };
  }
  link.send(codec.encode(reply));
  link.close();
}

/** Asks there. Throws UNREACHABLE when no coordinator listens, and what the coordinator answers. */
export async function askForCertificate(transport: Transport, path: string, request: CertifyRequest): Promise<Joined> {
  const link = await transport.dial(path, { timeoutMs: LIMIT_MS });
  const codec = new Codec();
  const { promise, resolve, reject } = Promise.withResolvers<Joined>();
  const late = new MeshError("TIMEOUT", `the coordinator behind ${path} did not answer within ${LIMIT_MS} ms`);
  const timer = setTimeout(() => link.destroy(late), LIMIT_MS);
  link.attach({
    frame: (frame) => {
      const { joined, error } = codec.decode(frame) as { joined?: Joined; error?: unknown };
      if (joined) resolve(joined);
      else reject(error);
    },
    drained: () => {},
    closed: (error) => reject(error ?? new MeshError("LINK_CLOSED", `the coordinator behind ${path} gave no answer`)),
  });
  link.send(codec.encode(request));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    link.close();
  }
}
