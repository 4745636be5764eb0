"""Every figure that README and docs quote, measured again.

    python -m benchmarks                     # all of them, one after the other
    python -m benchmarks throughput          # one
    python -m benchmarks throughput --json   # one JSON object on standard output instead of tables

| name | what it measures |
| --- | --- |
| bring_up | a network from nothing, and again from its folder; a contract through the lifecycle; the first commit |
| throughput | get + put of 100 bytes through our client and our shim, 1, 32 and 64 in flight; CPU of each side |
| memory | memory of network and chaincode over 10,000 transactions |
| demo | `goldengrain demo`, the whole of it |
| market | a whole swap's commands against no-op writes |
| gateway | submits and evaluations through our client, Go's, Node's and moe-fabric-gateway; CPU of each |
| attestation | a registration's checks for SGX and TDX, a report's check; processor time in the contract |
| store | verified reading of a blob from a local disk's cache, through a folder and through our server; its memory |
| scale | every command and query page with 10³ to 10⁶ offers on the ledger; 12 GB of disk in the temporary folder |

Where FABRIC_BIN names the folder of Fabric's own programs, `bring_up`, `throughput` and `chaincode` run on these as
well; `throughput` takes turns on both networks. Run it on a machine that does nothing else; figures of a busy machine
are worth nothing. `--seconds` sets how long each load lasts.
"""
