// Logging in on a real sshd: keys, agents, passphrases; and what runs there.
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { connectSsh } from "../../../plugins/ssh/connect.ts";
import { Dialing } from "../../../plugins/ssh/dialing.ts";
import { makeKey, noSshd, publicLine, startSshd, writeSshConfig } from "../../support/sshd.ts";
import { Answers, connectTo, failure, nobodyLoggedIn, output, runs, skipNote, startAgent } from "./support.ts";

const PASSPHRASE = "correct horse";

describe.skipIf(noSshd)(`connectSsh: keys${skipNote}`, () => {
  test("F1 a key of ssh_config; user, port and host name of the alias", async () => {
    await using sshd = await startSshd();
    await using connection = await connectTo(sshd);
    expect(await output(connection, "echo $HOME")).toBe(`${sshd.home}\n`);
    expect([connection.label, connection.means]).toEqual(["host", "ssh2"]);
  });

  test("MESH_SSH_CONFIG names the file where no option does", async () => {
    await using sshd = await startSshd();
    process.env.MESH_SSH_CONFIG = sshd.configFile;
    try {
      await using connection = await connectSsh(`ssh://${sshd.user}@host:${sshd.port}`);
      expect(await output(connection, "echo $HOME")).toBe(`${sshd.home}\n`);
    } finally {
      delete process.env.MESH_SSH_CONFIG;
    }
  });

  test("where there is no ssh to ask: the usual files of the home folder", async () => {
    await using sshd = await startSshd();
    const dotSsh = join(sshd.folder, ".ssh");
    mkdirSync(dotSsh);
    copyFileSync(sshd.clientKey, join(dotSsh, "id_ed25519"));
    chmodSync(join(dotSsh, "id_ed25519"), 0o600);
    copyFileSync(sshd.knownHosts, join(dotSsh, "known_hosts"));
    const connect = new URL("../../../plugins/ssh/connect.ts", import.meta.url).pathname;
    const script = `import { connectSsh } from "${connect}";
      await using connection = await connectSsh("ssh://${sshd.user}@${sshd.address}:${sshd.port}");
      console.log(String(Buffer.from((await connection.run("echo $HOME")).stdout)).trim());`;
    const env = { PATH: sshd.folder, HOME: sshd.folder };
    const child = Bun.spawnSync([process.execPath, "-e", script], { env });
    expect([String(child.stdout), String(child.stderr)]).toEqual([`${sshd.home}\n`, ""]);
  });

  test.each(["ed25519", "ecdsa", "rsa"] as const)("host key and login by %s", async (type) => {
    await using sshd = await startSshd({ hostKeyTypes: [type] });
    const key = makeKey(join(sshd.folder, "mine"), type);
    writeFileSync(sshd.authorizedKeys, publicLine(key));
    await using connection = await connectTo(sshd, { lines: [`IdentityFile ${key}`] });
    expect(await output(connection, "echo in")).toBe("in\n");
  });

  test("an encrypted key: its passphrase is asked for once, for all hosts", async () => {
    await using first = await startSshd({ name: "a" });
    const key = makeKey(join(first.folder, "sealed"), "ed25519", PASSPHRASE);
    await using second = await startSshd({ name: "b", clientKey: key });
    writeFileSync(first.authorizedKeys, publicLine(key));
    const configFile = writeSshConfig(join(first.folder, "both"), [first, second]);
    writeFileSync(configFile, readFileSync(configFile, "utf8").replaceAll(first.clientKey, key));
    const person = new Answers({ secrets: ["wrong", PASSPHRASE] });
    const dialing = new Dialing();
    const both = await Promise.all(["a", "b"].map((name) => connectSsh(name, { configFile, person, dialing })));
    expect(await Promise.all(both.map((connection) => output(connection, "echo $HOME")))).toEqual([
      `${first.home}\n`,
      `${second.home}\n`,
    ]);
    expect(person.questions).toEqual([`Passphrase of ${key}`, `That is not it. Passphrase of ${key}`]);
    for (const connection of both) await connection[Symbol.asyncDispose]();
  });

  const kinds: [kind: string, args: string[]][] = [
    ["PEM", ["-m", "PEM"]],
    ["PKCS8", ["-m", "PKCS8"]],
    ["OpenSSH", []],
  ];
  test.each(kinds)("an encrypted RSA key in %s format, without a public half beside it", async (kind, args) => {
    await using sshd = await startSshd();
    const key = makeKey(join(sshd.folder, "old"), "rsa");
    writeFileSync(sshd.authorizedKeys, publicLine(key));
    spawnSync("ssh-keygen", ["-p", "-q", ...args, "-P", "", "-N", PASSPHRASE, "-f", key]);
    expect(readFileSync(key, "utf8").split("\n")[0]).toContain(
      { PEM: "RSA PRIVATE", PKCS8: "ENCRYPTED", OpenSSH: "OPENSSH" }[kind],
    );
    rmSync(`${key}.pub`);
    const person = new Answers({ secrets: [PASSPHRASE] });
    await using connection = await connectTo(sshd, { lines: [`IdentityFile ${key}`, "IdentitiesOnly yes"], person });
    expect(await output(connection, "echo in")).toBe("in\n");
    expect(person.questions).toEqual([`Passphrase of ${key}`]);
  });

  test("a passphrase is not asked for when another key opens the door", async () => {
    await using sshd = await startSshd();
    const key = makeKey(join(sshd.folder, "sealed"), "ed25519", PASSPHRASE);
    const person = new Answers();
    await using connection = await connectTo(sshd, { lines: [`IdentityFile ${key}`], person });
    expect(await output(connection, "echo in")).toBe("in\n");
    expect(person.questions).toEqual([]);
  });

  test("an encrypted key and nobody to ask: says which key and what to do", async () => {
    await using sshd = await startSshd();
    const key = makeKey(join(sshd.folder, "sealed"), "ed25519", PASSPHRASE);
    writeFileSync(sshd.authorizedKeys, publicLine(key));
    const message = await failure("AUTHENTICATION", connectTo(sshd, { lines: [`IdentityFile ${key}`] }));
    expect(message).toContain(`${key}: it is encrypted and nobody can be asked: run ssh-add ${key}`);
    expect(message).toContain(`${sshd.clientKey}: refused`);
  });

  test("the agent: its keys, one named by a public key alone, and none beside those named", async () => {
    await using sshd = await startSshd();
    const others = ["x", "y"].map((name) => makeKey(join(sshd.folder, name)));
    const inAgent = makeKey(join(sshd.folder, "in-agent"));
    await using agent = await startAgent(sshd.folder, [...others, inAgent]);
    writeFileSync(sshd.authorizedKeys, publicLine(inAgent));
    rmSync(inAgent);
    const lines = ["IdentityFile none", `IdentityAgent ${agent.socket}`];
    {
      await using connection = await connectTo(sshd, { lines: [...lines, "IdentitiesOnly no"] });
      expect(await output(connection, "echo in")).toBe("in\n");
    }
    {
      await using connection = await connectTo(sshd, {
        lines: [`IdentityFile ${inAgent}`, `IdentityAgent ${agent.socket}`],
      });
      expect(await output(connection, "echo in")).toBe("in\n");
    }
    const message = await failure(
      "AUTHENTICATION",
      connectTo(sshd, { lines: [`IdentityAgent ${agent.socket}`, "IdentitiesOnly yes"] }),
    );
    expect(message).not.toContain("agent: ");
  });

  test("nothing is accepted: says what was tried and what to do", async () => {
    await using sshd = await startSshd();
    const [inAgent, open, mine] = ["in-agent", "open", "mine"].map((name) => makeKey(join(sshd.folder, name)));
    await using agent = await startAgent(sshd.folder, [inAgent!]);
    writeFileSync(sshd.authorizedKeys, "");
    chmodSync(open!, 0o644);
    const lines = [
      `IdentityFile ${open}`,
      `IdentityFile ${mine}`,
      `IdentityAgent ${agent.socket}`,
      "IdentitiesOnly no",
    ];
    const message = await failure("AUTHENTICATION", connectTo(sshd, { lines }));
    for (const words of ["agent: test: refused", `${mine}: refused`, `chmod 600 ${open}`, "ssh-copy-id host"]) {
      expect(message).toContain(words);
    }
    const silent = await failure(
      "AUTHENTICATION",
      connectTo(sshd, { lines: ["IdentityAgent /nowhere", `IdentityFile ${mine}`] }),
    );
    expect(silent).toContain("agent at /nowhere: ");
  });

  test("an agent that takes the call and says nothing does not hold up the keys in files", async () => {
    await using sshd = await startSshd();
    const socket = join(sshd.folder, "mute");
    using _mute = {
      [Symbol.dispose]: (
        (server) => () =>
          server.stop(true)
      )(Bun.listen({ unix: socket, socket: { data() {} } })),
    };
    await using connection = await connectTo(sshd, { lines: [`IdentityAgent ${socket}`] });
    expect(await output(connection, "echo in")).toBe("in\n");
  });
});

describe.skipIf(noSshd)(`SshConnection${skipNote}`, () => {
  test("run: input, output, errors and status apart; a signal has no status", async () => {
    await using sshd = await startSshd();
    await using connection = await connectTo(sshd);
    const result = await connection.run("cat; echo problem >&2; exit 3", { input: Buffer.from("hello") });
    expect({ ...result, stdout: String(Buffer.from(result.stdout)) }).toEqual({
      status: 3,
      stdout: "hello",
      stderr: "problem\n",
    });
    expect(await connection.run("kill -9 $$")).toMatchObject({ status: undefined, signal: "SIGKILL" });
    expect(await connection.run("cat >/dev/null; exit 1", { input: pieces(3, 100_000) })).toMatchObject({ status: 1 });
    expect(await connection.run("exit 5", { input: pieces(100, 100_000) })).toMatchObject({ status: 5 });
  });

  test("run: too much output, too long, given up: the command ends", async () => {
    await using sshd = await startSshd();
    await using connection = await connectTo(sshd);
    expect(await failure("PROTOCOL", connection.run("yes", { outputLimitBytes: 100_000 }))).toContain("100000 bytes");
    expect(await failure("TIMEOUT", connection.run("exec cat", { timeoutMs: 50, input: never() }))).toContain("0.05 s");
    const stop = new AbortController();
    const stopped = connection.run("echo started; exec cat", { signal: stop.signal, input: never() });
    await runs(sshd, "cat");
    stop.abort();
    await failure("CANCELLED", stopped);
    await failure("CANCELLED", connection.run("true", { signal: stop.signal }));
    await nobodyLoggedIn(sshd);
    expect(await output(connection, "echo still here")).toBe("still here\n");
  });

  test("open: a conversation both ways; writes wait while nobody reads", async () => {
    await using sshd = await startSshd();
    await using connection = await connectTo(sshd);
    const talk = await connection.open('while read line; do echo "you said $line"; done; echo bye >&2');
    const lines = talk.stdout[Symbol.asyncIterator]();
    for (const word of ["one", "two"]) {
      await talk.write(Buffer.from(`${word}\n`));
      expect(String(Buffer.from((await lines.next()).value))).toBe(`you said ${word}\n`);
    }
    talk.end();
    expect(await lines.next()).toMatchObject({ done: true });
    expect([await talk.ended, talk.stderr]).toEqual([{ status: 0 }, "bye\n"]);

    const deaf = await connection.open("exec sleep 1000");
    let written = 0;
    const feeding = (async () => {
      for (;;) {
        await deaf.write(Buffer.alloc(1 << 20));
        written++;
      }
    })();
    await runs(sshd, "sleep");
    expect(written).toBeLessThan(16);
    deaf.kill();
    await failure("LINK_CLOSED", feeding);
    expect(await deaf.ended).toEqual({ status: undefined });
  });

  test.each(["none", "1M"])("16 MB there and back are the same bytes, with new keys after %s", async (limit) => {
    await using sshd = await startSshd({ config: [`RekeyLimit ${limit === "none" ? "default none" : limit}`] });
    await using connection = await connectTo(sshd);
    const bytes = crypto.getRandomValues(new Uint8Array(65_536));
    const input = Buffer.concat(Array.from({ length: 256 }, () => bytes));
    const { stdout } = await connection.run("cat", { input, outputLimitBytes: 1 << 25 });
    expect(Buffer.compare(Buffer.from(stdout), input)).toBe(0);
    const exchanges = sshd.log().split("SSH2_MSG_NEWKEYS received").length - 1;
    expect(exchanges > 4).toBe(limit !== "none");
  });

  test("closed: undefined when we end it; the reason when the host does, and what runs there hears of it", async () => {
    await using sshd = await startSshd();
    const ended = await connectTo(sshd);
    const broken = await connectTo(sshd);
    await ended[Symbol.asyncDispose]();
    expect(await ended.closed).toBeUndefined();
    const talk = await broken.open("cat");
    await sshd[Symbol.asyncDispose]();
    expect((await broken.closed)?.code).toBe("LINK_CLOSED");
    expect((await talk.ended).status).toBeUndefined();
    expect(await failure("LINK_CLOSED", broken.run("true"))).toContain("host");
    await failure("LINK_CLOSED", talk.write(Buffer.from("x")));
    await broken[Symbol.asyncDispose]();
  });

  test("/bin/false as a shell: the command ends at once with status 1 and says nothing", async () => {
    await using sshd = await startSshd({ shell: "/bin/false" });
    await using connection = await connectTo(sshd);
    const result = await connection.run("echo hello", { input: Buffer.from("x") });
    expect({ ...result, stdout: result.stdout.length }).toEqual({ status: 1, stdout: 0, stderr: "" });
  });

  test("too many sessions at once: says what limits them", async () => {
    await using sshd = await startSshd({ config: ["MaxSessions 1"] });
    await using connection = await connectTo(sshd);
    await using talk = new AsyncDisposableStack();
    const first = await connection.open("cat");
    talk.defer(() => first.kill());
    expect(await failure("UNREACHABLE", connection.run("true"))).toContain("MaxSessions");
  });

  test("F93 forwardIn and forwardOut: streams between here and there", async () => {
    await using sshd = await startSshd();
    await using connection = await connectTo(sshd);
    const greet = (stream: NodeJS.WritableStream) => void stream.end("hello from here");
    await using port = await connection.forwardIn(0, greet);
    const path = join(sshd.home, "socket");
    await using _socket = await connection.forwardInUnix(path, greet);
    const ask = (how: string) => `python3 -c 'import socket; s=${how}; print(s.recv(99).decode())'`;
    expect(await output(connection, ask(`socket.create_connection(("127.0.0.1",${port.port}))`))).toBe(
      "hello from here\n",
    );
    const unix = `socket.socket(socket.AF_UNIX); s.connect("${path}")`;
    expect(await output(connection, ask(unix))).toBe("hello from here\n");
    const out = await connection.forwardOut({ host: "127.0.0.1", port: sshd.port });
    expect(String((await once(out)).subarray(0, 8))).toBe("SSH-2.0-");
    out.destroy();
    await port[Symbol.asyncDispose]();
    expect((await connection.run(ask(`socket.create_connection(("127.0.0.1",${port.port}))`))).status).toBe(1);
    expect(await failure("UNREACHABLE", connection.forwardOut({ host: "127.0.0.1", port: 1 }))).toContain(
      "127.0.0.1:1",
    );
  });

  test("forwarding that sshd forbids: says which of its settings", async () => {
    await using sshd = await startSshd({ config: ["AllowTcpForwarding no", "AllowStreamLocalForwarding no"] });
    await using connection = await connectTo(sshd);
    expect(
      await failure(
        "UNREACHABLE",
        connection.forwardIn(0, () => {}),
      ),
    ).toContain("AllowTcpForwarding");
    expect(
      await failure(
        "UNREACHABLE",
        connection.forwardInUnix(join(sshd.home, "s"), () => {}),
      ),
    ).toContain("AllowStreamLocalForwarding");
  });
});

async function* pieces(count: number, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) yield new Uint8Array(sizeBytes);
}

/** Input that never comes and never ends. */
function never(): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) };
}

function once(stream: NodeJS.ReadableStream): Promise<Buffer> {
  return new Promise((resolve) => stream.once("data", resolve));
}
