"""libzmq by pyzmq, two processes over TCP without encryption: net_zmq.py WORKLOAD prints the figure.

One-way messages are built and counted by Python, which is what somebody who uses it from Python gets.
"""

import statistics
import subprocess
import sys
import time

import zmq

SHAPES = {
    "round-trip": (64, 4_000),
    "one-way-64": (64, 500_000),
    "one-way-1024": (1024, 200_000),
    "bulk": (1024 * 1024, 512),
}
WARM_ROUNDS = 2
MEASURE_S = 1.5

workload = sys.argv[1]
size, count = SHAPES[workload]


def answer() -> None:
    """Answers each message, or each round of one-way ones."""
    socket = zmq.Context().socket(zmq.PAIR)
    socket.set_hwm(100_000)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(port, flush=True)
    each = 1 if workload == "round-trip" else count
    reply = bytes(size if workload == "round-trip" else 1)
    while True:
        for _ in range(each):
            if len(socket.recv()) == 0:
                return
        socket.send(reply)


def one_round(socket: zmq.Socket, message: bytes) -> None:
    if workload == "round-trip":
        for _ in range(count):
            socket.send(message)
            socket.recv()
    else:
        for _ in range(count):
            socket.send(message)
        socket.recv()


def measure() -> None:
    command = [sys.executable, __file__, workload, "answer"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        socket = zmq.Context().socket(zmq.PAIR)
        socket.set_hwm(100_000)
        socket.connect(f"tcp://127.0.0.1:{child.stdout.readline().strip()}")
        message = bytes(size)
        values = []
        for _ in range(WARM_ROUNDS):
            one_round(socket, message)
        end = time.perf_counter() + MEASURE_S
        while time.perf_counter() < end:
            start = time.perf_counter()
            one_round(socket, message)
            seconds = time.perf_counter() - start
            if workload == "round-trip":
                values.append(1e6 * seconds / count)
            elif workload == "bulk":
                values.append(size * count / seconds / 1e6)
            else:
                values.append(count / seconds)
        socket.send(b"")
        print(statistics.median(values))


if len(sys.argv) > 2:
    answer()
else:
    measure()
