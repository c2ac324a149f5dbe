// Whether an address can be listened on, without a word to whoever might come: for `mesh doctor`.
import { createServer } from "node:net";
import type { MeshError } from "../../core/errors.ts";
import { onThisMachine } from "../ip-address.ts";
import { parseTcpAddress } from "./address.ts";
import { listenFailure } from "./failures.ts";

/** Why it cannot; undefined when it can. Throws UNREACHABLE for what is no address. */
export async function tryListenTcp(address: string): Promise<MeshError | undefined> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<MeshError | undefined>();
  server.once("error", (error) => resolve(listenFailure(address, error)));
  server.listen(onThisMachine(parseTcpAddress(address)), () => resolve(undefined));
  const failure = await promise;
  if (!failure) await new Promise((closed) => server.close(closed));
  return failure;
}
