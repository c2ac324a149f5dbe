// Host keys: unknown, changed, revoked, hashed; nothing is sent to a host that is not the one we know.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { connectSsh } from "../../../plugins/ssh/connect.ts";
import { Dialing } from "../../../plugins/ssh/dialing.ts";
import { makeKey, noSshd, publicLine, type Sshd, startSshd, writeSshConfig } from "../../support/sshd.ts";
import { Answers, connectTo, failure, output, skipNote } from "./support.ts";

const ASK = ["StrictHostKeyChecking ask"];

function fingerprintOf(file: string): string {
  return spawnSync("ssh-keygen", ["-lf", file], { encoding: "utf8" }).stdout.split(" ")[1]!;
}

/** Its known_hosts without its keys, and what they are known as. */
function forget(sshd: Sshd): string {
  rmSync(sshd.knownHosts);
  return `[${sshd.address}]:${sshd.port}`;
}

/** sshd saw that the client knows its key before it asked for a login. */
function askedForLogin(sshd: Sshd): boolean {
  return /userauth-request|Accepted|Failed/.test(sshd.log());
}

describe.skipIf(noSshd)(`host keys${skipNote}`, () => {
  test("unknown and nobody to ask: refused before the login, with the fingerprint and what trusts it", async () => {
    await using sshd = await startSshd();
    forget(sshd);
    const message = await failure("AUTHENTICATION", connectTo(sshd, { lines: ASK }));
    expect(message).toContain(`the ED25519 key ${fingerprintOf(join(sshd.folder, "host_ed25519.pub"))}`);
    expect(message).toMatch(/run: ssh -F \S+ host true – or use --accept-new-keys/);
    expect(askedForLogin(sshd)).toBe(false);
    expect(existsSync(sshd.knownHosts)).toBe(false);
  });

  test("unknown with StrictHostKeyChecking yes: nobody is asked, and the line for known_hosts is told", async () => {
    await using sshd = await startSshd();
    const name = forget(sshd);
    const person = new Answers({ yes: true });
    const message = await failure("AUTHENTICATION", connectTo(sshd, { person }));
    expect(message).toContain(`put this line into ${sshd.knownHosts}: ${name} ${sshd.hostKeys[0]}`);
    expect(person.questions).toEqual([]);
  });

  test("unknown and trusted: one question for all hosts; known from then on, to ssh too", async () => {
    await using first = await startSshd({ name: "a" });
    await using second = await startSshd({ name: "b" });
    const [knownAs] = [forget(first), forget(second)];
    const folder = join(first.folder, "new", "folder");
    const configFile = writeSshConfig(join(first.folder, "both"), [first, second]);
    const file = join(folder, "known_hosts");
    const text = readFileSync(configFile, "utf8");
    const relaxed = text
      .replace(/UserKnownHostsFile.*/g, `UserKnownHostsFile ${file}`)
      .replaceAll("Checking yes", "Checking ask");
    writeFileSync(configFile, relaxed);
    const person = new Answers({ yes: true });
    const dialing = new Dialing();
    const both = await Promise.all(["a", "b"].map((name) => connectSsh(name, { configFile, person, dialing })));
    for (const connection of both) await connection[Symbol.asyncDispose]();
    expect(person.questions).toHaveLength(1);
    for (const words of ["these 2 hosts", "a with the ED25519 key SHA256:", "b with the ED25519 key SHA256:"]) {
      expect(person.questions[0]).toContain(words);
    }
    expect(readFileSync(file, "utf8")).toContain(`${knownAs} ${first.hostKeys[0]}\n`);
    expect([statSync(file).mode & 0o777, statSync(folder).mode & 0o777]).toEqual([0o600, 0o700]);
    await using again = await connectSsh("a", { configFile });
    expect(await output(again, "echo in")).toBe("in\n");
    expect(spawnSync("ssh", ["-F", configFile, "-o", "BatchMode=yes", "b", "true"]).status).toBe(0);
  });

  test("unknown and not trusted: refused, and not remembered", async () => {
    await using sshd = await startSshd();
    forget(sshd);
    const message = await failure(
      "AUTHENTICATION",
      connectTo(sshd, { lines: ASK, person: new Answers({ yes: false }) }),
    );
    expect(message).toContain("was not trusted");
    expect([existsSync(sshd.knownHosts), askedForLogin(sshd)]).toEqual([false, false]);
  });

  test("acceptNewKeys and accept-new: remembered without a question, hashed where that is wanted", async () => {
    await using sshd = await startSshd();
    const name = forget(sshd);
    await using first = await connectTo(sshd, { acceptNewKeys: true, lines: ["HashKnownHosts yes"] });
    expect(await output(first, "echo in")).toBe("in\n");
    expect(readFileSync(sshd.knownHosts, "utf8")).toMatch(/^\|1\|[^|]+\|\S+ ssh-ed25519 \S+\n$/);
    expect(spawnSync("ssh-keygen", ["-F", name, "-f", sshd.knownHosts], { encoding: "utf8" }).stdout).toContain(
      "found",
    );
    await using second = await connectTo(sshd);
    expect(await output(second, "echo in")).toBe("in\n");
    writeFileSync(sshd.knownHosts, "# no newline at the end");
    await using third = await connectTo(sshd, { lines: ["StrictHostKeyChecking accept-new"] });
    expect(await output(third, "echo in")).toBe("in\n");
    expect(readFileSync(sshd.knownHosts, "utf8")).toBe(`# no newline at the end\n${name} ${sshd.hostKeys[0]}\n`);
  });

  test("X28 changed: refused before the login whatever the options, naming the old entry's file and line", async () => {
    await using sshd = await startSshd();
    const name = forget(sshd);
    const other = makeKey(join(sshd.folder, "other"));
    writeFileSync(sshd.knownHosts, `# comment\n\n${name} ${publicLine(other)}\n`);
    const person = new Answers({ yes: true });
    for (const lines of [[], ASK, ["StrictHostKeyChecking no"], ["StrictHostKeyChecking accept-new"]]) {
      const message = await failure("AUTHENTICATION", connectTo(sshd, { person, acceptNewKeys: true, lines }));
      expect(message).toContain(`${sshd.knownHosts}:3 knows the ED25519 key ${fingerprintOf(`${other}.pub`)}`);
      expect(message).toContain(`shows the ED25519 key ${fingerprintOf(join(sshd.folder, "host_ed25519.pub"))}`);
      expect(message).toContain(`ssh-keygen -R '${name}' -f ${sshd.knownHosts}`);
    }
    expect(sshd.log()).toContain("Connection from");
    expect(askedForLogin(sshd)).toBe(false);
    expect(person.questions).toEqual([]);
    expect(readFileSync(sshd.knownHosts, "utf8").split("\n")).toHaveLength(4);
  });

  test("a host that now shows a key of another type only counts as changed", async () => {
    await using sshd = await startSshd();
    const name = forget(sshd);
    writeFileSync(sshd.knownHosts, `${name} ${publicLine(makeKey(join(sshd.folder, "other"), "ecdsa"))}\n`);
    expect(await failure("AUTHENTICATION", connectTo(sshd, { acceptNewKeys: true }))).toContain("has changed");
    expect(askedForLogin(sshd)).toBe(false);
  });

  test("of several host keys, the one that is known is asked for", async () => {
    await using sshd = await startSshd({ hostKeyTypes: ["ed25519", "ecdsa", "rsa"] });
    const name = forget(sshd);
    for (const key of sshd.hostKeys.slice(1)) {
      writeFileSync(sshd.knownHosts, `${name} ${key}\n`);
      await using connection = await connectTo(sshd);
      expect(await output(connection, "echo in")).toBe("in\n");
    }
  });

  test("revoked: refused before the login, even though known", async () => {
    await using sshd = await startSshd();
    writeFileSync(sshd.knownHosts, `${readFileSync(sshd.knownHosts, "utf8")}@revoked * ${sshd.hostKeys[0]}\n`);
    expect(await failure("AUTHENTICATION", connectTo(sshd))).toContain(`${sshd.knownHosts}:2 revokes`);
    expect(askedForLogin(sshd)).toBe(false);
  });

  test("HostKeyAlias and the machine's own known_hosts", async () => {
    await using sshd = await startSshd();
    forget(sshd);
    const global = join(sshd.folder, "global");
    writeFileSync(global, `other-name ${sshd.hostKeys[0]}\n`);
    await using connection = await connectTo(sshd, {
      lines: ["HostKeyAlias other-name", `GlobalKnownHostsFile ${global}`],
    });
    expect(await output(connection, "echo in")).toBe("in\n");
  });

  test("a known_hosts that cannot be written: says so", async () => {
    await using sshd = await startSshd();
    const message = await failure(
      "STORAGE",
      connectTo(sshd, { acceptNewKeys: true, lines: ["UserKnownHostsFile /proc/known_hosts"] }),
    );
    expect(message).toContain("/proc/known_hosts");
  });
});
