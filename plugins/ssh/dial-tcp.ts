// A TCP connection to a host's sshd, and in words why there is none.
import { lookup } from "node:dns/promises";
import { connect, type Socket } from "node:net";
import type { SshSettings } from "./settings.ts";

type Address = Pick<SshSettings, "hostName" | "port" | "addressFamily" | "bindAddress">;

/** Why the connection was not made, for people: `words` and `advice` are the two halves of the message. */
export class DialFailure extends Error {
  readonly words: string;
  readonly advice: string;

  constructor([words, advice]: Explained, cause: Error) {
    super(`${words}; ${advice}`, { cause });
    this.words = words;
    this.advice = advice;
  }
}

type Explained = [words: string, advice: string];

/** `made` rejects with DialFailure; destroying `socket` gives it up. */
export function dialTcp(address: Address): { socket: Socket; made: Promise<Socket> } {
  const { hostName: host, port, addressFamily, bindAddress } = address;
  const begin = performance.now();
  const socket = connect({
    host,
    port,
    ...(addressFamily && { family: addressFamily }),
    ...(bindAddress && { localAddress: bindAddress }),
  });
  const made = new Promise<Socket>((resolve, reject) => {
    socket.once("error", (cause: NodeJS.ErrnoException) => {
      void trueCode(cause, address, performance.now() - begin).then((code) => {
        reject(new DialFailure(explain(code, host, port, cause), cause));
      });
    });
    socket.once("connect", () => {
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
  return { socket, made };
}

/** A refusal comes back as fast as the way is; the kernel looks for a host on the own network for 3 s. */
const REFUSAL_MS = 1_000;

/** Bun calls every failure of a connect ECONNREFUSED (seen with 1.4.5), so the route is asked for apart from it. */
async function trueCode(error: NodeJS.ErrnoException, address: Address, tookMs: number): Promise<string | undefined> {
  if (error.code !== "ECONNREFUSED") return error.code;
  if (tookMs > REFUSAL_MS) return "EHOSTUNREACH";
  try {
    const { address: ip, family } = await lookup(address.hostName, { family: address.addressFamily ?? 0 });
    const from = family === 6 ? "::" : "0.0.0.0";
    // Connecting UDP sends nothing; it only looks for the way.
    const probe = await Bun.udpSocket({ hostname: from, connect: { hostname: ip, port: address.port } });
    probe.close();
  } catch (found) {
    const { code } = found as NodeJS.ErrnoException;
    if (code === "EHOSTUNREACH" || code === "ENETUNREACH") return code;
  }
  return error.code;
}

function explain(code: string | undefined, host: string, port: number, error: Error): Explained {
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_NODATA":
      return [`no address is known for "${host}"`, "check the name, or give it a HostName in ssh_config"];
    case "ECONNREFUSED":
      return [`${host} refuses connections on port ${port}`, "sshd may not run there, or listen on another port"];
    case "EHOSTUNREACH":
      return [`there is no host at ${host}, or it is off`, "check the address and the network"];
    case "ENETUNREACH":
      return [`no way leads from here to ${host}`, "check the network"];
    default:
      return [`${host} port ${port}: ${error.message}`, "check the address and the network"];
  }
}
