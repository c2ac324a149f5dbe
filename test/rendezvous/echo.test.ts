import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ECHO_ANSWER_BYTES,
  ECHO_REQUEST_BYTES,
  encodeEchoAnswer,
  encodeEchoRequest,
  isEchoRequest,
  isEchoSigned,
  readEchoAnswer,
  readEchoRequest,
} from "../../core/rendezvous/echo.ts";
import { ipBytes, ipText } from "../../core/rendezvous/ip-bytes.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const key = new Uint8Array(32).fill(7);
const request = { id: new Uint8Array(16).fill(1), transaction: new Uint8Array(8).fill(2), fromOtherPort: true };

describe("echo, the bytes (F25)", () => {
  test("a request says what was put in, and is signed with its key alone", () => {
    fc.assert(
      fc.property(bytes(16), bytes(8), fc.boolean(), bytes(32), bytes(32), (id, transaction, fromOtherPort, a, b) => {
        const packet = encodeEchoRequest({ id, transaction, fromOtherPort }, a);
        expect(isEchoRequest(packet)).toBe(true);
        expect(readEchoRequest(packet)).toEqual({ id, transaction, fromOtherPort });
        expect(isEchoSigned(packet, a)).toBe(true);
        expect(isEchoSigned(packet, b)).toBe(Buffer.from(a).equals(b));
      }),
    );
  });

  test("an answer says what was put in, for every address and port", () => {
    const port = fc.integer({ min: 0, max: 65_535 });
    fc.assert(
      fc.property(bytes(16), port, bytes(8), fc.boolean(), (ip, port, transaction, fromOtherPort) => {
        const answer = { host: ipText(ip), port, transaction, fromOtherPort };
        const packet = Buffer.from(encodeEchoAnswer(answer, key));
        expect(readEchoAnswer(packet, key)).toEqual(answer);
        expect(readEchoAnswer(packet, key)).toEqual(answer); // reading changes nothing
      }),
    );
  });

  test("no bit of a packet may be another one", () => {
    const asked = encodeEchoRequest(request, key);
    const answered = encodeEchoAnswer({ ...request, host: "198.51.100.7", port: 40_001 }, key);
    for (let bit = 0; bit < 8 * ECHO_REQUEST_BYTES; bit++) expect(isEchoSigned(flipped(asked, bit), key)).toBe(false);
    for (let bit = 0; bit < 8 * ECHO_ANSWER_BYTES; bit++) {
      expect(readEchoAnswer(flipped(answered, bit), key)).toBeUndefined();
    }
  });

  test("whatever comes is read without an error, and is no answer", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (garbage) => {
        expect(readEchoAnswer(garbage, key)).toBeUndefined();
        expect(isEchoRequest(garbage)).toBe(false);
        expect(isEchoSigned(garbage, key)).toBe(false);
      }),
    );
    const asked = encodeEchoRequest(request, key);
    for (let end = 0; end < asked.length; end++) expect(isEchoRequest(asked.subarray(0, end))).toBe(false);
    expect(readEchoAnswer(asked, key)).toBeUndefined(); // its own request, sent back
  });

  test("an answer is shorter than what was asked, and does not show the address to routers between", () => {
    const answered = encodeEchoAnswer({ ...request, host: "198.51.100.7", port: 40_001 }, key);
    expect(answered.length).toBeLessThan(encodeEchoRequest(request, key).length);
    expect(Buffer.from(answered).includes(Buffer.from([198, 51, 100, 7]))).toBe(false);
  });
});

describe("ip", () => {
  test.each([
    ["10.0.0.5", "10.0.0.5"],
    ["::ffff:10.0.0.5", "10.0.0.5"],
    ["::1", "::1"],
    ["::", "::"],
    ["2001:db8::5", "2001:db8::5"],
    ["2001:DB8:0:0:0:0:0:5", "2001:db8::5"],
    ["fe80::1%eth0", "fe80::1"],
    ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"],
    ["64:ff9b::192.0.2.1", "64:ff9b::c000:201"],
  ])("%s comes back as %s", (text, plain) => {
    expect(ipText(ipBytes(text))).toBe(plain);
  });

  test("what is no address is refused", () => {
    for (const text of ["", "10.0.0", "host", "1::2::3", "10.0.0.5:80"]) expect(() => ipBytes(text)).toThrow("no IP");
  });
});

function flipped(packet: Uint8Array, bit: number): Uint8Array {
  const other = packet.slice();
  other[bit >> 3]! ^= 1 << (bit & 7);
  return other;
}
