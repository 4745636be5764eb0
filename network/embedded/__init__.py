"""A Fabric network inside one Python process, for development and tests.

The core (this folder's `blocks`, `msp`, `policies`, `config`, `ledger`, `simulator`, `validator`, `channel`, `orderer`)
knows no gRPC: it turns signed envelopes into validated, durable blocks exactly as Fabric's peers and orderer do.
The services on top of it speak Fabric's own gRPC protocol.

All peers of a channel live in this process and are deterministic, so they would all compute the same validation
flags, the same state and the same commit hash. The core therefore validates a block once and keeps one ledger per
channel for all peers; only private data is kept per organisation.
"""
