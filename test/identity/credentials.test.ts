import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadCredentials, type SavedNode, saveCredentials } from "../../core/identity/credentials.ts";
import { identityFrom } from "../../core/identity/identity.ts";
import { createKeyPair } from "../../core/identity/keys.ts";
import { type Folder, folder, nodeOf, refusalOf, type TestMesh, testMesh } from "./support.ts";

let mesh: TestMesh;
let node: SavedNode;
let renewed: SavedNode;

beforeAll(async () => {
  mesh = await testMesh();
  node = await saved("gpu1");
  renewed = await saved("gpu1");
});

afterAll(() => mesh[Symbol.dispose]());

async function saved(name: string): Promise<SavedNode> {
  const { meshId, role, credentials } = await nodeOf(mesh.ca, "worker", name);
  return { meshId, meshName: "lab", role, name, coordinators: ["tcp://10.0.0.1:7450"], credentials };
}

function withNode(run: (path: string, place: Folder) => void): void {
  using place = folder();
  const path = place.at("gpu1");
  saveCredentials(path, node);
  run(path, place);
}

describe("identityFrom", () => {
  it("reads who this is, until when, and signs", () => {
    const { certificate, credentials } = identityFrom(node.credentials);
    expect(certificate.length).toBeGreaterThan(300);
    expect(credentials).toBe(node.credentials);
    expect(identityFrom(node.credentials)).toMatchObject({ meshId: mesh.ca.meshId, role: "worker", name: "gpu1" });
    const { notBefore, expiresAt } = identityFrom(node.credentials);
    expect(expiresAt - notBefore).toBe(91 * 86_400_000);
  });

  it.each([
    [
      "another's key",
      () => ({ ...node.credentials, keyPem: createKeyPair().keyPem }),
      "is not that of its certificate",
    ],
    ["a key that is none", () => ({ ...node.credentials, keyPem: "secret" }), "no key in PEM"],
    ["a certificate that is none", () => ({ ...node.credentials, certificatePem: "" }), "not in PEM"],
    ["a CA's certificate", () => ({ ...node.credentials, certificatePem: mesh.ca.certificatePem }), "names no node"],
  ])("refuses %s, without showing a key", (_, credentials, words) => {
    const message = refusalOf("AUTHENTICATION", () => identityFrom(credentials()));
    expect(message).toContain(words);
    expect(message).not.toContain(node.credentials.keyPem.split("\n")[1]);
  });
});

describe("saveCredentials", () => {
  it("X37 makes a folder of mode 0700 with files of mode 0600, and the key in one of them only", () => {
    withNode((path) => {
      expect(statSync(path).mode & 0o777).toBe(0o700);
      expect(readdirSync(path).sort()).toEqual(["ca.pem", "cert.pem", "key.pem", "node.json"]);
      for (const name of readdirSync(path)) {
        expect(statSync(join(path, name)).mode & 0o777).toBe(0o600);
        const holdsKey = readFileSync(join(path, name), "utf8").includes(node.credentials.keyPem.split("\n")[1]!);
        expect(holdsKey).toBe(name === "key.pem");
      }
    });
  });

  it("F17 is read back as it was, and replaces what was there", () => {
    withNode((path) => {
      expect(loadCredentials(path)).toEqual(node);
      saveCredentials(path, { ...renewed, coordinators: ["tcp://10.0.0.2:7450", "tcp://[::1]:7450"] });
      expect(loadCredentials(path)).toEqual({ ...renewed, coordinators: ["tcp://10.0.0.2:7450", "tcp://[::1]:7450"] });
    });
  });

  it("saves nothing that is not this node's", () => {
    withNode((path) => {
      const words = refusalOf("AUTHENTICATION", () => saveCredentials(path, { ...renewed, name: "gpu2" }));
      expect(words).toContain("is not that of worker gpu2");
      expect(loadCredentials(path)).toEqual(node);
    });
  });
});

describe("loadCredentials", () => {
  it("finds nothing where nothing is, and where a first save was killed before it was done", () => {
    using place = folder();
    expect(loadCredentials(place.at("nothing"))).toBeUndefined();
    mkdirSync(place.at("empty"), { mode: 0o700 });
    expect(loadCredentials(place.at("empty"))).toBeUndefined();
    withNode((path) => {
      rmSync(join(path, "cert.pem"));
      expect(loadCredentials(path)).toBeUndefined();
    });
  });

  it("gives the old node or the new one, wherever a later save was killed", () => {
    withNode((path) => {
      const write = (name: string, text: string) => writeFileSync(join(path, name), text, { mode: 0o600 });
      write("key.pem.next", renewed.credentials.keyPem);
      expect(loadCredentials(path)).toEqual(node);
      write("cert.pem", renewed.credentials.certificatePem);
      expect(loadCredentials(path)).toEqual(renewed);
      expect(readdirSync(path).sort()).toEqual(["ca.pem", "cert.pem", "key.pem", "node.json"]);
      expect(loadCredentials(path)).toEqual(renewed);
    });
  });

  it.each(["", "ca.pem", "cert.pem", "key.pem", "node.json"])("X37 refuses %j when others may read it", (name) => {
    withNode((path) => {
      const at = join(path, name);
      chmodSync(at, name === "" ? 0o750 : 0o640);
      const right = name === "" ? "700" : "600";
      expect(refusalOf("AUTHENTICATION", () => loadCredentials(path))).toContain(
        `\`chmod ${right} ${at.replace(/\/$/, "")}\``,
      );
    });
  });

  it("X37 refuses links", () => {
    withNode((path, place) => {
      symlinkSync(path, place.at("link"));
      expect(refusalOf("AUTHENTICATION", () => loadCredentials(place.at("link")))).toContain("is a symbolic link");
      symlinkSync("/nonexistent", place.at("dangling"));
      expect(refusalOf("AUTHENTICATION", () => loadCredentials(place.at("dangling")))).toContain("is a symbolic link");
    });
  });

  it.each([
    ["node.json", undefined, "lacks node.json"],
    ["ca.pem", undefined, "lacks ca.pem"],
    ["key.pem", undefined, "is missing or damaged"],
    ["key.pem", createKeyPair().keyPem, "is not the key of cert.pem"],
    ["cert.pem", "text", "is not the key of cert.pem"],
    ["node.json", "{}", "is damaged"],
    ["node.json", "no json", "is damaged"],
  ])("tells of a %s that is %j, and how to begin again", (name, text, words) => {
    withNode((path) => {
      if (text === undefined) rmSync(join(path, name));
      else writeFileSync(join(path, name), text);
      const message = refusalOf("AUTHENTICATION", () => loadCredentials(path));
      expect(message).toContain(words);
      expect(message).toContain(`delete the folder ${path} and join again`);
    });
  });

  it("refuses a folder whose files are of different nodes", () => {
    withNode((path) => {
      const file = join(path, "node.json");
      const data = JSON.parse(readFileSync(file, "utf8"));
      writeFileSync(file, JSON.stringify({ ...data, name: "gpu2" }));
      expect(refusalOf("AUTHENTICATION", () => loadCredentials(path))).toContain("is not that of worker gpu2");
    });
  });
});
