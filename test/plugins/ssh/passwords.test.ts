// Passwords and keyboard-interactive, which are tried only when asked for. The server is ssh2's own: a real sshd checks
// passwords of the system's accounts, which a test does not touch.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ssh2, { type AuthContext } from "ssh2";
import { describe, expect, test } from "vitest";
import { connectSsh } from "../../../plugins/ssh/connect.ts";
import type { SshOptions } from "../../../plugins/ssh/ssh-connection.ts";
import { makeKey, noSshd, publicLine } from "../../support/sshd.ts";
import { Answers, failure, skipNote } from "./support.ts";

/** A server that lets in as `check` says, and what its clients tried. */
async function startServer(check: (context: AuthContext) => void) {
  const folder = mkdtempSync(join(tmpdir(), "mesh-passwords-"));
  const hostKey = makeKey(join(folder, "host"));
  const key = makeKey(join(folder, "key"));
  const tried: string[] = [];
  const server = new ssh2.Server({ hostKeys: [readFileSync(hostKey)] }, (client) => {
    client.on("error", () => {});
    client.on("authentication", (context) => {
      tried.push(context.method);
      check(context);
    });
    client.on("session", (accept) => {
      accept().on("exec", (acceptExec) => {
        const stream = acceptExec();
        stream.exit(0);
        stream.end("in\n");
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const configFile = join(folder, "config");
  writeFileSync(join(folder, "known"), `[127.0.0.1]:${port} ${publicLine(hostKey)}\n`);
  const lines = [
    "Host host",
    "HostName 127.0.0.1",
    `Port ${port}`,
    "User alice",
    `IdentityFile ${key}`,
    "IdentitiesOnly yes",
  ];
  lines.push("IdentityAgent none", `UserKnownHostsFile ${join(folder, "known")}`, "GlobalKnownHostsFile none");
  writeFileSync(configFile, lines.join("\n"));
  return {
    tried,
    connect: (options: SshOptions) => connectSsh("host", { configFile, ...options }),
    async [Symbol.asyncDispose]() {
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
}

const passwordIs = (password: string) => (context: AuthContext) => {
  if (context.method === "password" && context.password === password) context.accept();
  else context.reject(["password"]);
};

const keyboardAsks = (prompts: string[], right: string[]) => (context: AuthContext) => {
  if (context.method !== "keyboard-interactive") return context.reject(["keyboard-interactive"]);
  context.prompt(prompts, (answers) => {
    if (answers.join() === right.join()) context.accept();
    else context.reject(["keyboard-interactive"]);
  });
};

describe.skipIf(noSshd)(`passwords${skipNote}`, () => {
  test("nobody is asked unless they asked for it, and the refusal says how", async () => {
    await using server = await startServer(passwordIs("secret"));
    const person = new Answers({ secrets: ["secret"] });
    expect(await failure("AUTHENTICATION", server.connect({ person }))).toContain("--ask-password");
    expect(person.questions).toEqual([]);
    expect(server.tried).not.toContain("password");
  });

  test("a password, asked for again when it was wrong", async () => {
    await using server = await startServer(passwordIs("secret"));
    const person = new Answers({ secrets: ["wrong", "secret"] });
    await using connection = await server.connect({ person, askPassword: true });
    expect(String(Buffer.from((await connection.run("x")).stdout))).toBe("in\n");
    expect(person.questions).toEqual(["Password of host", "Password of host (that was not it)"]);
  });

  test("three wrong passwords, and an answer that is none", async () => {
    await using server = await startServer(passwordIs("secret"));
    const wrong = new Answers({ secrets: ["a", "b", "c", "secret"] });
    const message = await failure("AUTHENTICATION", server.connect({ person: wrong, askPassword: true }));
    expect(message).toContain("password: refused");
    expect(wrong.questions).toHaveLength(3);
    const none = new Answers();
    await failure("AUTHENTICATION", server.connect({ person: none, askPassword: true }));
    expect(none.questions).toHaveLength(1);
    expect(message).not.toContain("secret");
  });

  test("keyboard-interactive: each prompt is put to the person", async () => {
    await using server = await startServer(keyboardAsks(["Password: ", "Code: "], ["secret", "123"]));
    const person = new Answers({ secrets: ["secret", "123"] });
    await using connection = await server.connect({ person, askPassword: true });
    expect(String(Buffer.from((await connection.run("x")).stdout))).toBe("in\n");
    expect(person.questions).toEqual(["host: Password:", "host: Code:"]);
  });

  test("what a host asks cannot play on the terminal", async () => {
    await using server = await startServer(keyboardAsks(["\u001b[2J\u009bPass\r\nword\u202e: "], ["x"]));
    const person = new Answers({ secrets: ["x"] });
    await using _connection = await server.connect({ person, askPassword: true });
    expect(person.questions).toEqual(["host: \ufffd[2J\ufffdPass word\ufffd:"]);
  });

  test("a key and then a code", async () => {
    let hasKey = false;
    await using server = await startServer((context) => {
      if (context.method === "publickey") {
        if (!context.signature) return context.accept();
        hasKey = true;
        return context.reject(["keyboard-interactive"], true);
      }
      if (context.method === "keyboard-interactive" && hasKey)
        return context.prompt(["Code: "], () => context.accept());
      context.reject(["publickey"]);
    });
    const person = new Answers({ secrets: ["123"] });
    await using connection = await server.connect({ person, askPassword: true });
    expect(String(Buffer.from((await connection.run("x")).stdout))).toBe("in\n");
    expect(person.questions).toEqual(["host: Code:"]);
    const message = await failure("AUTHENTICATION", server.connect({}));
    expect(message).toContain("key: accepted, but it does not suffice");
  });
});
