"""The load, for clients on asyncio. Imports nothing of the project: a client with other dependencies runs it, too."""

import asyncio
import itertools
import json
import os
import statistics
import time

VALUE = "v" * 100
WARM_UP_S = 1.0


async def _for_a_while(call, seconds, in_flight):
    numbers, latencies, end = itertools.count(), [], time.monotonic() + seconds
    prefix = f"{os.environ['PREFIX']}/{time.monotonic_ns()}"

    async def worker():
        while (began := time.monotonic()) < end:
            await call(f"{prefix}/{next(numbers)}", VALUE)
            latencies.append(time.monotonic() - began)

    wall, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return latencies, time.monotonic() - wall, time.process_time() - cpu


async def measure(submit, evaluate):
    """Run the load with two functions of a key and a value, and print what came out."""
    seconds, in_flight = float(os.environ["SECONDS"]), int(os.environ["IN_FLIGHT"])
    await _for_a_while(submit, WARM_UP_S, in_flight)
    submits, wall, cpu = await _for_a_while(submit, seconds, in_flight)
    await _for_a_while(evaluate, WARM_UP_S / 4, 1)
    evaluates, _, evaluate_cpu = await _for_a_while(evaluate, seconds / 2, 1)
    print(
        json.dumps(
            {
                "submits": len(submits),
                "wall_s": wall,
                "cpu_s": cpu,
                "submit_p50_ms": statistics.median(submits) * 1000,
                "evaluates": len(evaluates),
                "evaluate_cpu_s": evaluate_cpu,
                "evaluate_p50_ms": statistics.median(evaluates) * 1000,
            }
        )
    )
