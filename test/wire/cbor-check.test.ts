import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isMeshError } from "../../core/errors.ts";
import { checkCbor } from "../../core/wire/cbor-check.ts";
import { Codec } from "../../core/wire/codec.ts";

const codec = new Codec();

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"));
}

/** Whether control messages may hold it; throws anything but PROTOCOL on. */
function allows(input: Uint8Array): boolean {
  try {
    checkCbor(input);
    return true;
  } catch (error) {
    if (isMeshError(error, "PROTOCOL")) return false;
    throw error;
  }
}

/** `prefix` so many times, then `last`. */
function nested(prefix: string, times: number, last: string): Uint8Array {
  return bytes(prefix.repeat(times) + last);
}

describe("checkCbor", () => {
  const valid = {
    "a small number": "00",
    "8 bytes of number": "1bffffffffffffffff",
    "a negative number": "3903e7",
    "a double": "fb3ff0000000000000",
    undefined: "f7",
    "an empty string": "60",
    "a string": "6161",
    bytes: "420102",
    "an empty list": "80",
    "a list of lists": "8180",
    "an object": "a1616101",
    "a list without length": "9f0102ff",
    "a string in parts": "7f61616162ff",
    "bytes in parts": "5f4101ff",
    "an object without length": "bf616101ff",
    "lists without length in each other": "9f9fff9f01ffff",
    "a date": "c1fb3ff8000000000000",
    "a large integer": "c249010000000000000000",
    "64 levels": `${"81".repeat(64)}00`,
  };
  it.each(Object.entries(valid))("takes %s", (_name, hex) => {
    expect(allows(bytes(hex))).toBe(true);
  });

  const bombs: Record<string, Uint8Array> = {
    nothing: bytes(""),
    "two values": bytes("0000"),
    "a number cut short": bytes("19ff"),
    "a string cut short": bytes("6261"),
    "a list cut short": bytes("8201"),
    "an object cut short": bytes("a16161"),
    "a tag of nothing": bytes("c1"),
    "a string of 2^32 bytes": bytes("7affffffff"),
    "a string of 2^64 bytes": bytes("7bffffffffffffffff"),
    "bytes of 2^53": bytes("5b0020000000000000"),
    "a list of 2^32": bytes("9affffffff00"),
    "a list of 2^64": bytes("9bffffffffffffffff00"),
    "an object of 2^32": bytes("baffffffff00"),
    "an object of 2^64": bytes("bbffffffffffffffff00"),
    "100,001 values": new Uint8Array([0x9a, 0, 1, 0x86, 0xa0, ...new Uint8Array(100_000)]),
    "100,001 values without length": new Uint8Array([0x9f, ...new Uint8Array(100_001), 0xff]),
    "65 levels of lists": nested("81", 65, "00"),
    "1,000 levels of lists": nested("81", 1_000, "00"),
    "1,000,000 levels of lists": new Uint8Array(1_000_000).fill(0x81),
    "1,000 levels of objects": nested("a100", 1_000, "00"),
    "1,000 levels of lists without length": nested("9f", 1_000, `00${"ff".repeat(1_000)}`),
    "1,000 levels of tags": nested("d81c", 1_000, "00"),
    "a break alone": bytes("ff"),
    "a break in a list with length": bytes("81ff"),
    "a break in place of a tagged value": bytes("c1ff"),
    "a list without end": bytes("9f00"),
    "a string in parts without end": bytes("7f6161"),
    "a number without length": bytes("1f"),
    "a negative number without length": bytes("3f"),
    "a tag without length": bytes("df00"),
    "reserved lengths": bytes("1c"),
    "reserved lengths of strings": bytes("7d"),
    "reserved lengths of lists": bytes("9e"),
    "a tag of records (dfff)": bytes("d9dfff8319e0008161610000"),
    "a tag of records (105)": bytes("d869830081616101"),
    "a tag of packed values": bytes("d8338480808000"),
    "a tag of bundled strings": bytes("d9dff900"),
    "tags of base64 and others": bytes("d82100"),
    "a decimal fraction": bytes("c4821a7fffffff01"),
    "a tag of 2^32": bytes("daffffffff00"),
    "a large integer of 9 KiB": new Uint8Array([0xc2, 0x59, 0x24, 0x00, ...new Uint8Array(0x2400).fill(255)]),
    "a large integer in parts": bytes("c25f4101ff"),
    "a large integer that is a list": bytes("c28100"),
  };
  it.each(Object.entries(bombs))("refuses %s", (_name, bomb) => {
    expect(allows(bomb)).toBe(false);
  });

  it("X19: decoding bombs as control messages throws PROTOCOL, takes no memory and pollutes nothing", () => {
    const pollution = codec.encode(
      JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'),
    );
    const before = memoryBytes();
    for (let round = 0; round < 50; round++) {
      for (const bomb of Object.values(bombs)) {
        expect(() => codec.decodeControl(bomb)).toThrow(expect.objectContaining({ code: "PROTOCOL" }));
      }
      codec.decodeControl(pollution);
    }
    expect(memoryBytes() - before).toBeLessThan(20 * 1024 * 1024);
    expect("polluted" in {}).toBe(false);
  });

  it("X19: the same keys many times are one key, the last", () => {
    expect(codec.decodeControl(bytes("a2616101616102"))).toEqual({ a: 2 });
  });

  it("X19: values that hold themselves inside each other are read once, not 2^60 times", () => {
    // 60 Maps, each shared, each with a reference to itself and the next one inside.
    const parts = Array.from(
      { length: 20 },
      (_, i) => `d81cd90103a200d81d${(i < 24 ? i : 0).toString(16).padStart(2, "0")}01`,
    );
    const hex = `${parts.join("")}00`;
    const outer = codec.decodeControl(bytes(hex)) as Map<number, unknown>;
    expect(outer.get(0)).toBe(outer);
  });

  it("property: what Codec makes passes", () => {
    const data = fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true, withTypedArray: true });
    fc.assert(
      fc.property(data, (value) => {
        checkCbor(codec.encode(value));
      }),
      { numRuns: 1_000 },
    );
  });

  it("property: no bytes make it throw anything but PROTOCOL, and what it takes, decode takes or refuses as typed", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
        if (!allows(input)) return;
        try {
          codec.decode(input);
        } catch (error) {
          if (!isMeshError(error)) throw error;
        }
      }),
      { numRuns: 5_000 },
    );
  });
});

/** Memory of this process after what can be freed is freed. */
function memoryBytes(): number {
  Bun.gc(true);
  return process.memoryUsage.rss();
}
