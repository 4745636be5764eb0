"""moe-fabric-gateway, in an environment of its own (`moe-requirements.txt`)."""

import asyncio
import os
from pathlib import Path

from load import measure
from moe_fabric_gateway.gateway import Gateway
from moe_fabric_gateway.pkg.client.gateway_client import GatewayClient
from moe_fabric_gateway.pkg.client.tls_config import TLSConfig
from moe_fabric_gateway.pkg.identity.identity import X509Identity
from moe_fabric_gateway.pkg.identity.signer import EcdsaSigner, load_private_key_from_pem


async def main(root, certificate, key):
    env = os.environ
    client = GatewayClient(env["ENDPOINT"], TLSConfig(ca_cert=root))
    identity = X509Identity(env["MSP_ID"], certificate)
    signer = EcdsaSigner(load_private_key_from_pem(key))
    async with Gateway(client=client, identity=identity, signer=signer) as gateway:
        contract = gateway.get_network(env["CHANNEL"]).get_contract(env["CHAINCODE"])
        await measure(
            lambda key, value: contract.submit_transaction("update", key, value),
            lambda key, value: contract.evaluate_transaction("update", key, value),
        )


asyncio.run(main(*(Path(os.environ[name]).read_bytes() for name in ("TLS_ROOT", "CERTIFICATE", "PRIVATE_KEY"))))
