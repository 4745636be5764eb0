"""Our client; `--shared` learns outcomes from the shared stream of blocks, else each is a call."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from benchmarks.gateway_clients.load import measure
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials, credentials_from_pem


async def main(user: Credentials) -> None:
    env = os.environ
    async with Gateway.connect(
        env["ENDPOINT"],
        user.identity,
        user.signer,
        tls_root=Path(env["TLS_ROOT"]),
        shared_commit_stream="--shared" in sys.argv,
    ) as gateway:
        contract = gateway.network(env["CHANNEL"]).contract(env["CHAINCODE"])
        await measure(
            lambda key, value: contract.submit("update", key, value),
            lambda key, value: contract.evaluate("update", key, value),
        )


if __name__ == "__main__":
    pems = (Path(os.environ[name]).read_bytes() for name in ("CERTIFICATE", "PRIVATE_KEY"))
    asyncio.run(main(credentials_from_pem(os.environ["MSP_ID"], *pems)))
