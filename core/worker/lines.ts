// Cuts a stream of bytes into whole lines, for output that is shared with others. Pure.

/** The longest line handed out in one piece, in bytes. */
export const LINE_LIMIT_BYTES = 64 * 1024;

const LF = 10;
const CR = 13;

/**
 * Takes bytes as they come and hands out whole lines, without their "\n" or "\r\n". A line longer than LINE_LIMIT_BYTES comes
 * in pieces of at most that size, cut between characters of UTF-8. A "\r" alone ends no line.
 */
export class LineSplitter {
  /** The unfinished line; a copy, because a chunk belongs to its sender. Grows up to the limit and one byte. */
  #held = new Uint8Array(256);
  #heldBytes = 0;

  /**
   * Returns the lines that `chunk` completes. A line that lies whole in `chunk` is a view of it, valid as long as the
   * chunk is; the others are copies.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const lines: Uint8Array[] = [];
    let from = 0;
    for (let at = chunk.indexOf(LF); at >= 0; at = chunk.indexOf(LF, from)) {
      this.#finish(chunk.subarray(from, at), lines);
      from = at + 1;
    }
    this.#hold(chunk.subarray(from), lines);
    return lines;
  }

  /** Returns what is left of a last line without an end, as zero or more pieces. The splitter can be used again. */
  end(): Uint8Array[] {
    const lines: Uint8Array[] = [];
    if (this.#heldBytes > 0) emit(this.#takeHeld(), lines);
    return lines;
  }

  #finish(rest: Uint8Array, lines: Uint8Array[]): void {
    let line = rest;
    if (this.#heldBytes > 0) {
      this.#hold(rest, lines);
      line = this.#takeHeld();
    }
    emit(line.at(-1) === CR ? line.subarray(0, -1) : line, lines);
  }

  /** Keeps a copy of `part`; hands out pieces as soon as the line is surely over the limit. */
  #hold(part: Uint8Array, lines: Uint8Array[]): void {
    let rest = part;
    while (rest.length > 0) {
      // One byte over the limit is kept: only it tells a line that goes on from the "\r" of one that ends here.
      const taken = rest.subarray(0, LINE_LIMIT_BYTES + 1 - this.#heldBytes);
      this.#append(taken);
      rest = rest.subarray(taken.length);
      const isOver = this.#heldBytes > LINE_LIMIT_BYTES && (rest.length > 0 || this.#held[LINE_LIMIT_BYTES] !== CR);
      if (!isOver) return;
      const piece = cutPiece(this.#held.subarray(0, this.#heldBytes)).slice();
      lines.push(piece);
      this.#held.copyWithin(0, piece.length, this.#heldBytes);
      this.#heldBytes -= piece.length;
    }
  }

  #append(part: Uint8Array): void {
    const needed = this.#heldBytes + part.length;
    if (needed > this.#held.length) {
      const larger = new Uint8Array(Math.min(LINE_LIMIT_BYTES + 1, Math.max(needed, this.#held.length * 2)));
      larger.set(this.#held.subarray(0, this.#heldBytes));
      this.#held = larger;
    }
    this.#held.set(part, this.#heldBytes);
    this.#heldBytes = needed;
  }

  #takeHeld(): Uint8Array {
    const line = this.#held.slice(0, this.#heldBytes);
    this.#heldBytes = 0;
    return line;
  }
}

function emit(line: Uint8Array, lines: Uint8Array[]): void {
  let rest = line;
  while (rest.length > LINE_LIMIT_BYTES) {
    const piece = cutPiece(rest);
    lines.push(piece);
    rest = rest.subarray(piece.length);
  }
  lines.push(rest);
}

/** The first at most LINE_LIMIT_BYTES of `bytes`, fewer by up to 3 where a character of UTF-8 would be cut. */
function cutPiece(bytes: Uint8Array): Uint8Array {
  let end = LINE_LIMIT_BYTES;
  while (end > LINE_LIMIT_BYTES - 3 && isContinuation(bytes[end])) end--;
  // Four continuation bytes in a row are not UTF-8: cut anywhere.
  return bytes.subarray(0, isContinuation(bytes[end]) ? LINE_LIMIT_BYTES : end);
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}
