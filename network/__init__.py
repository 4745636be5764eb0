"""Networks: from a topology to certificates, a genesis block, running nodes, and deployed chaincode.

`runtime.up` and `runtime.down` run the embedded network, `native.NativeNetwork` the same on Fabric's own programs,
`lifecycle.deploy` brings a chaincode onto either.
"""
