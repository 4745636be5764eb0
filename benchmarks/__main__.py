"""`python -m benchmarks [NAME …] [--json] [--seconds N]`; see the package's docstring."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from functools import partial

from benchmarks import (
    attestation,
    bring_up,
    contracts,
    demo,
    enclave,
    gas,
    gateway,
    market,
    memory,
    network,
    scale,
    store,
    throughput,
)
from benchmarks.report import machine

BENCHMARKS = {
    "bring_up": bring_up.run,
    "throughput": throughput.run,
    "memory": memory.run,
    "demo": demo.run,
    "market": market.run,
    "chaincode": contracts.run,
    "scale": scale.run,
    "store": store.run,
    "gas": gas.run,
    "network": network.run,
    "gateway": gateway.run,
    "attestation": attestation.run,
    "enclave": enclave.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure; without names, everything.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(BENCHMARKS)}")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each load lasts (8)")
    parser.add_argument("--largest", type=int, default=scale.SIZES[-1], help="scale: offers in the largest state (10⁶)")
    parser.add_argument("--rounds", type=int, default=scale.ROUNDS, help=f"scale: rounds of calls ({scale.ROUNDS})")
    parser.add_argument("--model", default="", help="enclave: only the model whose name begins so (all)")
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: one of {', '.join(BENCHMARKS)}")
    runs = BENCHMARKS | {
        "scale": partial(scale.run, largest=options.largest, rounds=options.rounds),
        "enclave": partial(enclave.run, model=options.model),
    }
    here, reports = machine(), []
    if not options.json:
        print(", ".join(f"{name} {value}" for name, value in here.items()), flush=True)
    for name in options.names or BENCHMARKS:
        report = asyncio.run(runs[name](options.seconds))
        reports.append(report)
        if not options.json:
            print(f"\n{report.table()}", flush=True)
    if options.json:
        print(json.dumps({"machine": here, "reports": [one.to_json() for one in reports]}, indent=2))
    return 1 if any(one.failures for one in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
