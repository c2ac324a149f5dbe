// `mesh host`, asked for the mesh's coordinator: starts it unless it runs, and has it admit the user who asks.
import { join } from "node:path";
import type { HostWord, Order } from "../../core/bootstrap/host-words.ts";
import { stateFolderPath } from "../../core/identity/state-folder.ts";
import { askForCertificate, CERTIFICATE_SOCKET } from "../../core/member/certificate-socket.ts";
import { UnixTransport } from "../../transports/unix/unix-transport.ts";
import { ensureCoordinator } from "./coordinator-daemon.ts";

type CoordinateOrder = Extract<Order, { op: "coordinate" }>;
type Coordinates = Extract<HostWord, { word: "coordinates" }>;

/** Throws what the coordinator says when it does not start. */
export async function coordinate(
  { meshName, settings, user }: CoordinateOrder,
  { signal }: { signal: AbortSignal },
): Promise<Coordinates> {
  const { client, outcome } = await ensureCoordinator({ name: meshName, ...settings }, signal);
  await client[Symbol.asyncDispose]();
  const socket = join(stateFolderPath(meshName), CERTIFICATE_SOCKET);
  const publicKey = Buffer.from(user.publicKey, "base64");
  const joined = await askForCertificate(new UnixTransport(), socket, { publicKey, role: "head", name: user.name });
  return { word: "coordinates", outcome, joined };
}
