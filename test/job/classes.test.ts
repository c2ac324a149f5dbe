// Instances of the script's own classes travel with their class, their properties and their #private fields.

import { describe, expect, test } from "vitest";
import { type Files, run } from "./support/harness.ts";

type Case = [title: string, files: Files, expected: unknown[]];

const CASES: Case[] = [
  [
    "plain properties; no constructor runs",
    `import { pool } from "mesh"; let made = 0; const log: string[] = [];
class Point { label = "p"; constructor(public x: number, readonly y: number) { log.push("made"); } sum() { return this.x + this.y; } }
class Point3 extends Point { z = 3; constructor() { super(1, 2); log.push("made3"); } sum() { return super.sum() + this.z; } }
const p = new Point3(); p.z = 30; made = log.length;
const back = await pool().submit((q: Point3) => { q.x += 100; return [q.sum(), q instanceof Point, q]; }, p);
out(back[0], back[1], back[2].sum(), back[2] instanceof Point3, log.length === made);`,
    [133, true, 133, true, true],
  ],
  [
    "#private fields, methods and accessors, in base and derived classes",
    `import { pool } from "mesh";
class Account { #balance; #log = ["open"]; constructor(start: number) { if (start === undefined) throw new Error("no start"); this.#balance = start; }
  #fee() { return 1; } add(n: number) { this.#balance += n - this.#fee(); this.#log.push("add"); return this; } get state() { return [this.#balance, this.#log]; } }
class Savings extends Account { #rate: number; name = "none"; constructor({ start, rate }: { start: number; rate: number }, [name]: string[]) { const s = start * 1; super(s); this.#rate = rate; this.name = name; }
  get rate() { return this.#rate; } }
const a = new Savings({ start: 10, rate: 0.5 }, ["me"]);
const b = await pool().submit((x: Savings) => x.add(5), a);
out(structuredClone(b.state), b.rate, b.name, b instanceof Savings, a.state, b.add(1).state);`,
    [[14, ["open", "add"]], 0.5, "me", true, [10, ["open"]], [14, ["open", "add", "add"]]],
  ],
  [
    "fields that hold functions are made again; private functions too",
    `import { pool } from "mesh";
class Button { count = 0; press = () => ++this.count; #hidden = () => this.count * 2; twice() { return this.#hidden(); } }
const b = new Button(); b.press(); b.press();
out(await pool().submit((x: Button) => [x.press(), x.twice(), Object.keys(x)], b));`,
    [[3, 6, ["count", "press"]]],
  ],
  [
    "methods use the script's data",
    `import { pool } from "mesh"; const rate = [2].map((x) => x)[0];
class Taxed { constructor(readonly n: number) {} total() { return this.n * rate; } }
const list = [new Taxed(4)];
out(await pool().submit((xs: any[]) => xs[0].total(), list));
const p = pool(); const made = await p.map((n: number) => new Taxed(n), [1, 2]); out(made.map((t) => t.total()));`,
    [8, [2, 4]],
  ],
  [
    "static members and literals the class reads when it is declared",
    `import { pool } from "mesh"; const k = 2; const table = { a: [k, 3] };
class A { static x = k * 2; static y = table.a[1]; static #z = 9; static z() { return A.#z; } static { this.w = 1; } declare static w: number; }
out(await pool().submit(() => [A.x, A.y, A.z(), A.w]));`,
    [[4, 3, 9, 1]],
  ],
  [
    "a class that cannot be declared elsewhere hinders nobody else",
    `import { pool } from "mesh"; const env = [1, 2].length;
export class Broken { static n = env; } class Fine { v = 1; }
out(Broken.n, await pool().submit(() => new Fine().v));`,
    [2, 1],
  ],
  [
    "errors keep their class, properties and stack",
    `import { pool } from "mesh";
class Odd extends Error { code: string; constructor(n: number) { super("odd " + n); this.name = "Odd"; this.code = "E" + n; } }
try { await pool().map((n: number) => { if (n % 2) throw new Odd(n); }, [3]); } catch (e) { out(e instanceof Odd, e.code, e.message, e.name, /job\\.ts:3:/.test(e.stack)); }`,
    [true, "E3", "odd 3", "Odd", true],
  ],
  [
    "classes of imported modules, extended in the script",
    {
      "job.ts": `import { pool } from "mesh"; import { Base } from "./base";
class Leaf extends Base { own = 1; #deep = 2; get deep() { return this.#deep; } set deep(n) { this.#deep = n; } }
const leaf = new Leaf("id"); leaf.deep = 7; out(await pool().submit((l: Leaf) => [l.secret, l.own, l.deep, l instanceof Base], leaf));`,
      "base.ts": `export class Base { #secret: string; constructor(secret: string) { if (typeof secret !== "string") throw new Error("bad"); this.#secret = secret; } get secret() { return this.#secret; } }`,
    },
    [["id", 1, 7, true]],
  ],
  [
    "classes of foreign bases: their constructor gets no arguments, without private fields it does not run",
    `import { pool } from "mesh"; import { EventEmitter } from "node:events";
class Plain extends EventEmitter { v = 1; }
class Hidden extends EventEmitter { #n = 5; constructor(n: number) { super(); this.#n = n; } get n() { return this.#n; } }
const plain = new Plain(); plain.v = 2;
out(await pool().submit((x: Plain) => [x.v, x instanceof EventEmitter], plain), await pool().submit((x: Hidden) => [x.n, x.listenerCount("a")], new Hidden(6)));`,
    [
      [2, true],
      [6, 0],
    ],
  ],
  [
    "subclasses of what only the engine can reach are refused",
    `import { pool } from "mesh"; class Table extends Map { v = 1; } class Sub extends Table {}
try { await pool().submit((t) => t, new Sub([[1, 2]])); } catch (e) { out(e.code, e.message); }`,
    [
      "CANNOT_TRAVEL",
      "a job.ts#Sub cannot travel: it extends Map, whose contents only the engine can reach; keep a Map in a field instead",
    ],
  ],
  [
    "deleted and added properties, names like __proto__, class expressions",
    `import { pool } from "mesh";
const Loose = class { a? = 1; f = () => 1; #p = 1; has() { return #p in this; } };
const l: any = new Loose(); delete l.a; l.b = 2; Object.defineProperty(l, "__proto__", { value: 3, enumerable: true });
out(await pool().submit((x: any) => [Object.keys(x).sort(), x.has(), x instanceof Loose], l), Loose.name);`,
    [[["__proto__", "b", "f"], true, true], "Loose"],
  ],
  [
    "accessor fields; refused where they cannot be made again",
    `import { pool } from "mesh";
class Dial { accessor level = 1; static accessor shared = 2; constructor(n: number) { this.level = n; } }
class Derived extends Dial { accessor more = 1; constructor() { super(1); } }
out(await pool().submit((d: Dial) => [d.level, Dial.shared], new Dial(5)));
try { await pool().submit((d) => d, new Derived()); } catch (e) { out(e.message); }`,
    [[5, 2], expect.stringMatching(/^a job.ts#Derived cannot travel: it has an `accessor` field/)],
  ],
  [
    "decorators",
    `import { pool } from "mesh";
function seal(c: any) { c.sealed = true; } function mark(_t: any, _k: string) {}
@seal class Deco { @mark m() { return 1; } }
out((Deco as any).sealed, await pool().submit(() => [(Deco as any).sealed, new Deco().m()]));`,
    [true, [true, 1]],
  ],
  [
    "decorators behind export, and what only type checks refuse",
    `import { pool } from "mesh";
function tag(c: any, ..._: any[]) { return c; }
export @tag class A { override x = 1; }
declare const NOWHERE: number;
out(await pool().submit(() => [new A().x, typeof NOWHERE]));`,
    [[1, "undefined"]],
  ],
  [
    "a class made while another instance is revived runs its constructor",
    `import { pool } from "mesh";
class Inner { v; constructor() { this.v = 1; } } class Outer { #inner = new Inner(); #x = 0; made = () => new Inner().v; constructor(x: number) { this.#x = x; } get all() { return [this.#x, this.#inner.v, this.made()]; } }
out(await pool().submit((o: Outer) => o.all, new Outer(4)));`,
    [[4, 1, 1]],
  ],
];

describe("instances of the job's classes", () => {
  test.each(CASES)("%s", async (_title, files, expected) => {
    expect(await run(files)).toEqual(expected);
  });
});
