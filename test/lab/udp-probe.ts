// A UDP port that a test sends from and listens on, in another network namespace: reads "HOST PORT TEXT" lines of what to send, and
// prints "HOST PORT TEXT" of what came. `udp-probe.ts PORT`.
export {};

const socket = await Bun.udpSocket({
  port: Number(process.argv[2]),
  hostname: "0.0.0.0",
  socket: {
    data: (_, bytes, port, host) => console.log(`${host} ${port} ${bytes}`),
    error: () => {},
  },
});
console.log("listens");
for await (const line of console) {
  const [host, port, text] = line.split(" ") as [string, string, string];
  socket.send(text, Number(port), host);
}
socket.close();
