// Bun signs what it makes for Macs with Apple silicon; what it makes for Intel keeps the signature of Bun itself, which no longer
// fits (seen in 1.4.5). Intel Macs run what has no signature, and refuse what has a wrong one.
const MAGIC_64 = 0xfeedfacf;
const HEADER_BYTES = 32;
const LC_CODE_SIGNATURE = 0x1d;

/**
 * Takes the load command of the signature (mach-o/loader.h) out of an executable for macOS; its bytes stay behind, where nothing
 * points to them. Throws when it is no such executable; one without a signature stays as it is.
 */
export function dropSignature(executable: Buffer): void {
  if (executable.length < HEADER_BYTES || executable.readUInt32LE(0) !== MAGIC_64) {
    throw new Error("this is no executable of 64 bits for macOS");
  }
  const count = executable.readUInt32LE(16);
  const commandBytes = executable.readUInt32LE(20);
  const end = HEADER_BYTES + commandBytes;
  let at = HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    const size = executable.readUInt32LE(at + 4);
    if (executable.readUInt32LE(at) === LC_CODE_SIGNATURE) {
      executable.copyWithin(at, at + size, end);
      executable.fill(0, end - size, end);
      executable.writeUInt32LE(count - 1, 16);
      executable.writeUInt32LE(commandBytes - size, 20);
      return;
    }
    at += size;
  }
}
