# The same workloads by Python's multiprocessing.Pool.
import multiprocessing
import sys
import time

COUNT = 100_000


def same(x):
    return x


def square(x):
    return x * x


def busy(seconds):
    end = time.process_time() + seconds
    x = 0
    while time.process_time() < end:
        for i in range(1000):
            x = (x * 31 + i) & 0xFFFFFFFF
    return x


def rate(run, rounds):
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        rates.append(COUNT / (time.perf_counter() - start))
    return sorted(rates)[rounds // 2]


def main(workload):
    items = list(range(COUNT))
    with multiprocessing.Pool(2) as pool:
        pool.map(same, range(100))
        if workload == "one":
            print(rate(lambda: pool.map(same, items, chunksize=1), 3))
        elif workload == "default":
            rate(lambda: pool.map(square, items), 10)
            print(rate(lambda: pool.map(square, items), 41))
        else:
            times = []
            for _ in range(15):
                start = time.perf_counter()
                pool.map(busy, [0.020] * 16, chunksize=1)
                times.append((time.perf_counter() - start) * 1000)
            print(sorted(times)[7])


if __name__ == "__main__":
    main(sys.argv[1])
