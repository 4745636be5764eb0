"""What a real Fabric 3.1.5 network said, packed under `tests/data/fabric`, for tests of every part.

    archive      the files as they were recorded
    blocks       the blocks of a Raft and of a SmartBFT channel, and what peers made of their transactions
    calls        calls of the services of peers and orderer, with their answers
    transcripts  the messages between peers and chaincodes, and the calls that led to them

One network made all of it within 18 minutes: 3 organisations with one peer each, one Raft orderer, channel `market`,
chaincodes driven by a script language. `python tools/pack_recordings.py FOLDER` packs them anew.
"""
