"""The programs that `python -m benchmarks gateway` compares: one load, a client each.

Each reads ENDPOINT, TLS_ROOT, MSP_ID, CERTIFICATE, PRIVATE_KEY, CHANNEL, CHAINCODE, IN_FLIGHT and PREFIX from the
environment. Then, for each line `submit SECONDS` or `evaluate SECONDS` of its input, it keeps IN_FLIGHT submits going,
or evaluates one at a time, for as long, and prints one JSON object: how many calls, seconds of wall and processor time
of all its threads, the median latency. It ends with its input. Between two lines the others have their turn.
"""
