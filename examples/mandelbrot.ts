// Draws the Mandelbrot set, each line of the picture on whatever slot is free, and writes it as a PNG.
//
//   mesh run examples/mandelbrot.ts              to mandelbrot.png
//   mesh run examples/mandelbrot.ts picture.png
import { writeFile } from "node:fs/promises";
import { crc32, deflateSync } from "node:zlib";
import { args, pool } from "mesh";

const file = args[0] ?? "mandelbrot.png";
const width = 600;
const height = 400;
const steps = 300;

/** How many steps the point c = x + yi takes to leave the circle of radius 2; `steps` when it stays. */
function escapeTime(x: number, y: number): number {
  let [re, im] = [0, 0];
  for (let step = 0; step < steps; step++) {
    const [reSquared, imSquared] = [re * re, im * im];
    if (reSquared + imSquared > 4) return step;
    im = 2 * re * im + y;
    re = reSquared - imSquared + x;
  }
  return steps;
}

/** The pixels of one line, a byte for each: black is inside of the set. */
function line(row: number): Uint8Array {
  const y = ((row + 0.5) / height) * 2 - 1;
  return Uint8Array.from({ length: width }, (_, column) => {
    const x = ((column + 0.5) / width) * 3 - 2;
    const time = escapeTime(x, y);
    return time === steps ? 0 : 255 - Math.round(200 * (time / steps) ** 0.4);
  });
}

/** A chunk of a PNG file: length, type, data, checksum of type and data. */
function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(data.length + 12);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, "latin1");
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, data.length + 8)), data.length + 8);
  return bytes;
}

/** A PNG of shades of grey (RFC 2083): each line is one byte that names its filter, 0 for none, and its pixels. */
function png(lines: Uint8Array[]): Uint8Array {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 8; // bits for each pixel; all that follows is 0: grey, deflate, no filter of its own, not interlaced
  const filtered = Buffer.concat(lines.flatMap((pixels) => [Uint8Array.of(0), pixels]));
  const signature = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");
  const chunks = [chunk("IHDR", header), chunk("IDAT", deflateSync(filtered)), chunk("IEND", new Uint8Array(0))];
  return Buffer.concat([signature, ...chunks]);
}

const lines = await pool().map(
  line,
  Array.from({ length: height }, (_, row) => row),
);
await writeFile(file, png(lines));
console.log(`${file}: ${width} x ${height}`);
