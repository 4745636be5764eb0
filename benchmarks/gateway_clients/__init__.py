"""The programs that `python -m benchmarks gateway` compares: one load, a client each.

Each reads ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL, CHAINCODE, IN_FLIGHT, SECONDS and PREFIX from
the environment, warms up, keeps IN_FLIGHT submits going for SECONDS, then evaluates one at a time for half as long, and
prints one JSON object: how many, seconds of wall and processor time, median latencies.
"""
