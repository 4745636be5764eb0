"""The embedded network against what was recorded from a real one, request by request.

    timeline      every recorded request in the order of the recording
    world         an embedded network with the recorded certificates, keys, genesis block and clock
    chaincodes    chaincode servers that say what the recorded ones said, and check what the peers answer
    comparing     an answer held against the recorded one
    masks         what is allowed to vary, reviewed by hand
    running       plays the timeline
    differences.yaml   cases known to differ, with the reason, reviewed by hand
    page          `docs/conformance.md`, made from a run: `python -m tests.conformance.replay.page`

Requests are sent as the recorded bytes with the recorded signatures; the network's clock stands where the recording's
stood. Between cases the ledger is brought to the recorded block, so that a case that differs doesn't spoil the next.
"""
