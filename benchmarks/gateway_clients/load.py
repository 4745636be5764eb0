"""The load, for clients on asyncio. Imports nothing of the project: a client with other dependencies runs it, too."""

import asyncio
import itertools
import json
import os
import statistics
import sys
import time

VALUE = "v" * 100


async def _for_a_while(call, seconds, in_flight):
    numbers, latencies, end = itertools.count(), [], time.monotonic() + seconds
    prefix = f"{os.environ['PREFIX']}/{time.monotonic_ns()}"

    async def worker():
        while (began := time.monotonic()) < end:
            await call(f"{prefix}/{next(numbers)}", VALUE)
            latencies.append(time.monotonic() - began)

    wall, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return {
        "calls": len(latencies),
        "wall_s": time.monotonic() - wall,
        "cpu_s": time.process_time() - cpu,
        "p50_ms": statistics.median(latencies) * 1000,
    }


async def measure(submit, evaluate):
    """Run the load with two functions of a key and a value, a turn for each line of the input."""
    kinds = {"submit": (submit, int(os.environ["IN_FLIGHT"])), "evaluate": (evaluate, 1)}
    while line := await asyncio.to_thread(sys.stdin.readline):
        kind, seconds = line.split()
        call, in_flight = kinds[kind]
        print(json.dumps(await _for_a_while(call, float(seconds), in_flight)), flush=True)
