"""An independent checker of Fabric blocks: it shares no code with the network that makes them.

    checker = Checker(genesis_block)
    for block in blocks:
        problems = checker.check(block)         # [] if everything about it is right

From the genesis block alone it recomputes what orderers and peers state in every later one: the hash chain, data
hashes, orderers' signatures (Raft and SmartBFT), creators' and endorsers' signatures, every validation code from the
read and write sets, and the commit hash.

    encoding      bytes that are hashed and signed
    identities    organisations, certificates, roles
    policies      signature policies, implicit policies, channel policies
    config        a configuration, and what it says of organisations and consenters
    state         keys with versions, metadata, and reads held against them
    transactions  the checks of a transaction alone
    endorsement   chaincodes' policies, collections' and single keys'
    checker       all of it, block by block
"""
