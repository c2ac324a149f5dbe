// The certificates under real TLS 1.3, with the settings that the TCP transport uses.
import { describe, expect, it } from "vitest";
import type { Credentials } from "../../core/identity/identity.ts";
import { checkPinned, joinRequest } from "../../core/identity/join.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { DNS_NAME } from "../../core/identity/names.ts";
import { parseToken } from "../../core/identity/token.ts";
import { TokenStore } from "../../core/identity/token-store.ts";
import { Trust } from "../../core/identity/trust.ts";
import { verifyCertificate } from "../../core/identity/verify.ts";
import { folder, HOUR, nodeOf, testMesh } from "./support.ts";

const now = Date.now();

interface Handshake {
  /** The leaf each side saw of the other; none when it does not trust it. */
  server: Uint8Array | undefined;
  client: Uint8Array | undefined;
}

function tlsOf(credentials: Partial<Credentials>, strict: boolean) {
  const { caPem, certificatePem, keyPem } = credentials;
  return {
    ...(caPem !== undefined && { ca: caPem }),
    ...(certificatePem !== undefined && { cert: certificatePem, key: keyPem! }),
    requestCert: true,
    rejectUnauthorized: strict,
    minVersion: 0x0304,
    secureOptions: 0x4000,
    serverName: DNS_NAME,
  };
}

/** One handshake over loopback; resolves when both sides are through with it, one way or the other. */
async function handshake(server: Credentials, client: Partial<Credentials>, strict = true): Promise<Handshake> {
  const ends = {
    server: Promise.withResolvers<Uint8Array | undefined>(),
    client: Promise.withResolvers<Uint8Array | undefined>(),
  };
  const handlers = (side: keyof Handshake) => ({
    data() {},
    error() {},
    close: () => ends[side].resolve(undefined),
    connectError: () => ends[side].resolve(undefined),
    handshake(socket: Bun.Socket, _isDone: boolean, error: Error | null) {
      const { raw } = (socket.getPeerCertificate() ?? {}) as { raw?: Uint8Array };
      // A stranger knows no CA yet: what it sees is for checkPinned to judge.
      const isTrusted = error === null || error === undefined || (!strict && side === "client");
      ends[side].resolve(isTrusted && raw ? Uint8Array.from(raw) : undefined);
    },
  });
  const socket = handlers("server");
  using listener = Bun.listen({ hostname: "127.0.0.1", port: 0, tls: tlsOf(server, strict), socket });
  const dialed = await Bun.connect({
    hostname: "127.0.0.1",
    port: listener.port,
    tls: tlsOf(client, strict),
    socket: handlers("client"),
  });
  try {
    return { server: await ends.server.promise, client: await ends.client.promise };
  } finally {
    dialed.terminate();
    listener.stop(true);
  }
}

describe("certificates under TLS", () => {
  it("let two nodes of a mesh see each other", async () => {
    using mesh = await testMesh(now);
    const [a, b] = [await nodeOf(mesh.ca, "coordinator", "c", now), await nodeOf(mesh.ca, "worker", "w", now)];
    const seen = await handshake(a.credentials, b.credentials);
    const trust = new Trust(mesh.ca.trust(now));
    expect(verifyCertificate(seen.server!, trust, now).name).toBe("w");
    expect(verifyCertificate(seen.client!, trust, now).name).toBe("c");
  });

  it("let nodes of the old and of the new CA see each other during the overlap, both ways", async () => {
    using mesh = await testMesh(now);
    const old = await nodeOf(mesh.ca, "coordinator", "old", now);
    await mesh.ca.rotate({ nowMs: now });
    const young = await nodeOf(mesh.ca, "worker", "new", now);
    const caPem = mesh.ca.trust(now);
    for (const [server, client] of [
      [old, young],
      [young, old],
    ] as const) {
      const seen = await handshake({ ...server.credentials, caPem }, { ...client.credentials, caPem });
      const trust = new Trust(caPem);
      expect(verifyCertificate(seen.server!, trust, now).name).toBe(client.name);
      expect(verifyCertificate(seen.client!, trust, now).name).toBe(server.name);
    }
  });

  it("let a node that was away when the CA was replaced come back to the coordinator", async () => {
    using mesh = await testMesh(now);
    const away = await nodeOf(mesh.ca, "worker", "w", now);
    await mesh.ca.rotate({ nowMs: now });
    const coordinator = await nodeOf(mesh.ca, "coordinator", "c", now);
    const seen = await handshake(coordinator.credentials, away.credentials);
    expect(verifyCertificate(seen.client!, new Trust(away.credentials.caPem), now).name).toBe("c");
    expect(verifyCertificate(seen.server!, new Trust(mesh.ca.trust(now)), now).name).toBe("w");
  });

  it("X22 keep out who has none, another mesh's, an expired or a future one", async () => {
    using mesh = await testMesh(now);
    using other = await testMesh(now);
    const server = await nodeOf(mesh.ca, "coordinator", "c", now);
    const caPem = mesh.ca.trust(now);
    const good = await nodeOf(mesh.ca, "worker", "w", now);
    const foreign = await nodeOf(other.ca, "worker", "w", now);
    const expired = await nodeOf(mesh.ca, "worker", "w", now - 2 * HOUR, HOUR);
    const future = await nodeOf(mesh.ca, "worker", "w", now + 48 * HOUR);
    expect((await handshake(server.credentials, good.credentials)).server).toBeDefined();
    expect((await handshake(server.credentials, { caPem })).server).toBeUndefined();
    for (const { credentials } of [foreign, expired, future]) {
      expect((await handshake(server.credentials, { ...credentials, caPem })).server).toBeUndefined();
    }
    expect((await handshake(foreign.credentials, good.credentials)).client).toBeUndefined();
  });

  it("F17 let a stranger with a token tell its coordinator from everybody else, before it sends the secret", async () => {
    using mesh = await testMesh(now);
    using other = await testMesh(now);
    using place = folder();
    const store = new TokenStore({ path: place.at("tokens.json"), ca: mesh.ca, audit: () => {} });
    const token = parseToken(store.create({ role: "worker" }, now));
    const { publicKey } = createKeyPair();
    const coordinator = await nodeOf(mesh.ca, "coordinator", "c", now);
    const seen = await handshake(coordinator.credentials, {}, false);
    expect(seen.server).toBeUndefined();
    expect(checkPinned(mesh.ca.certificatePem, seen.client!, token.pin, now).name).toBe("c");
    store.redeem(joinRequest(token, "worker", "w", publicKey), now);

    const liar = await nodeOf(other.ca, "coordinator", "c", now);
    const lie = await handshake(liar.credentials, {}, false);
    expect(() => checkPinned(mesh.ca.certificatePem, lie.client!, token.pin, now)).toThrow("not signed by the CA");
  });
});
