// Text by lines, from bytes as they come.
const LINE_LIMIT_CHARS = 1024 * 1024;

/** The lines of a stream without their ends. One that is longer than a megabyte comes in parts. */
export async function* linesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of bytes) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
    if (rest.length > LINE_LIMIT_CHARS) {
      yield rest;
      rest = "";
    }
  }
  if (rest) yield rest;
}
