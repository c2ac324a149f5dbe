// The coordinator's socket on its own machine, which only its user can open. Who asks there gets a certificate without a
// token: the user's heads, commands and workers beside the coordinator.
import { MeshError } from "../errors.ts";
import { type CertifyRequest, checkCertifyRequest, type Joined } from "../identity/join.ts";
import type { Link, Listener, Transport } from "../transport.ts";
import { Codec } from "../wire/codec.ts";
import { answerOnce, askOnce } from "./one-question.ts";

const REQUEST_LIMIT_BYTES = 4 * 1024;
const LIMIT_MS = 5_000;
const FIELD = "joined";

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
  await answerOnce(link, codec, FIELD, async () => {
    if (frame.length > REQUEST_LIMIT_BYTES) throw new MeshError("PROTOCOL", "a request for a certificate is too long");
    return await certify(checkCertifyRequest(codec.decodeControl(frame)));
  });
}

/** Asks there. Throws UNREACHABLE when no coordinator listens, and what the coordinator answers. */
export async function askForCertificate(transport: Transport, path: string, request: CertifyRequest): Promise<Joined> {
  const options = {
    field: FIELD,
    timeoutMs: LIMIT_MS,
    who: `the coordinator behind ${path}`,
    limitWords: `${LIMIT_MS} ms`,
  };
  return await askOnce(transport, path, request, options);
}
