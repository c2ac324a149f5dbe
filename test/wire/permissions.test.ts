import { describe, expect, it } from "vitest";
import { ROLES, type Role } from "../../core/identity/names.ts";
import { MessageType } from "../../core/wire/message-types.ts";
import { maySend } from "../../core/wire/permissions.ts";

type TypeName = keyof typeof MessageType;

/** Who may send it to whom, one letter for each role: Coordinator, Worker, Head, cLient ("u", the user's command), Rendezvous. */
const WAYS: Record<TypeName, string> = {
  hello: "",
  reply: "cc cw ch cu cr wc ww wh wu wr hc hw hh hu hr uc uw uh uu ur rc rw rh ru rr",
  failure: "cc cw ch cu cr wc ww wh wu wr hc hw hh hu hr uc uw uh uu ur rc rw rh ru rr",
  refused: "",
  challenge: "",
  greeting: "",
  welcome: "",
  ack: "",
  heartbeat: "",
  goodbye: "",
  join: "",
  joined: "",
  grant: "cc cw ch cu cr wc ww wh wu wr hc hw hh hu hr uc uw uh uu ur rc rw rh ru rr",
  startJob: "",
  stopJob: "ch",
  jobEnded: "",
  output: "wh",
  notice: "wh",
  progress: "wh",
  load: "",
  acquireSlots: "hw ww",
  slotUp: "hw wh ww",
  slotDown: "hw wh ww",
  releaseSlots: "hw ww",
  killSlot: "hw ww",
  watchTimeouts: "hw ww",
  alive: "",
  recall: "hw ww",
  define: "hw wh ww",
  run: "hw wh ww",
  result: "hw wh ww",
  cancel: "hw wh ww",
  register: "wc hc rc cw ch cr",
  membership: "wc hc rc cw ch cr",
  report: "wc hc rc",
  introduce: "wc hc rc uc cw ch cr",
  certify: "wc hc rc uc",
  revoked: "cw ch cr cu",
  beginJob: "hc",
  jobProgress: "hc",
  endJob: "hc",
  jobLog: "hc",
  submitJob: "uc hc",
  status: "uc hc",
  jobs: "uc hc",
  logs: "uc hc",
  killJob: "uc hc",
  killNode: "uc hc",
  issueToken: "uc hc",
  admit: "uc hc",
  revoke: "uc hc",
  rotateCa: "uc hc",
  logLines: "cu ch",
  stopLogs: "uc hc",
  shutdown: "cw ch cr",
  retiring: "wh ww",
  openJob: "hw",
  closeJob: "hw",
  openHost: "wh",
  nodesChanged: "",
  userGone: "hw wh ww",
  fork: "",
  shutdownNode: "wh",
  addHost: "",
  pipeSend: "hw wh ww",
  pipeValue: "hw wh ww",
  pipeCredit: "hw wh ww",
  pipeRoom: "hw wh ww",
  pipeFlush: "hw wh ww",
  pipePull: "hw wh ww",
  pipeWatch: "hw wh ww",
  pipeWithdraw: "hw wh ww",
  pipeReturn: "hw wh ww",
  pipeStay: "hw wh ww",
  refUse: "hw wh ww",
  refRead: "hw wh ww",
  refReleased: "hw wh ww",
  exec: "uw hw",
  execOutput: "wu wh",
  execInput: "uw hw",
  execStop: "uw hw",
  fileList: "uw hw",
  fileOpen: "uw hw ur hr uc hc",
  fileRead: "uw hw ur hr uc hc",
  fileHash: "uw hw",
  fileClose: "uw hw ur hr uc hc",
  fileBegin: "uw hw ww",
  fileWrite: "uw hw ww",
  fileFinish: "uw hw ww",
  fileAbandon: "uw hw ww",
  fileDelete: "uw hw ww",
  fileFolder: "uw hw",
  meetPlaces: "wr hr ur cr wc hc uc cc",
  meet: "wr hr ur cr wc hc uc cc",
  invited: "rw rh ru rc cw ch cu cc",
  relay: "wr hr ur cr wc hc uc cc",
  relayed: "rw rh ru rc cw ch cu cc",
  explainPath: "uc hc cw ch cr",
};

const LETTERS: Record<Role, string> = { coordinator: "c", worker: "w", head: "h", client: "u", rendezvous: "r" };

describe("maySend", () => {
  it.each(Object.keys(MessageType) as TypeName[])("%s: by these roles to these, and no other", (name) => {
    const allowed = ROLES.flatMap((from) =>
      ROLES.filter((to) => maySend(from, MessageType[name], to)).map((to) => LETTERS[from] + LETTERS[to]),
    );
    expect(allowed.sort()).toEqual(WAYS[name].split(" ").filter(Boolean).sort());
  });

  it("types that nobody knows: not by anybody", () => {
    const known = new Set<number>(Object.values(MessageType));
    const unknown = [...Array(300).keys(), -1, 1e9, 1.5, Number.NaN].filter((type) => !known.has(type));
    expect(unknown.length).toBeGreaterThan(200);
    for (const type of unknown) {
      for (const from of ROLES) for (const to of ROLES) expect(maySend(from, type, to)).toBe(false);
    }
  });

  it("a client sends heads nothing but answers, and workers commands and files besides, nothing of a job", () => {
    const sentTo = (role: Role) =>
      Object.entries(MessageType).flatMap(([name, type]) => (maySend("client", type, role) ? [name] : []));
    const answers = ["reply", "failure", "grant"];
    expect(sentTo("head")).toEqual(answers);
    const others = sentTo("worker").filter((name) => !answers.includes(name));
    expect(others.filter((name) => !/^(exec|file)/.test(name))).toEqual([]);
  });
});
