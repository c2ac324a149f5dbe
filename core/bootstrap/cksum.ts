// The checksum of POSIX cksum: CRC-32 of 0x04C11DB7, most significant bit first, over the bytes and then their count.
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc >>> 0;
});

/** As the first number that `cksum` prints. */
export async function posixCksum(stream: AsyncIterable<Uint8Array>): Promise<string> {
  let crc = 0;
  let size = 0;
  for await (const chunk of stream) {
    for (const byte of chunk) crc = (crc << 8) ^ TABLE[(crc >>> 24) ^ byte]!;
    size += chunk.length;
  }
  for (let rest = size; rest > 0; rest = Math.floor(rest / 256)) crc = (crc << 8) ^ TABLE[(crc >>> 24) ^ (rest & 255)]!;
  return String(~crc >>> 0);
}
