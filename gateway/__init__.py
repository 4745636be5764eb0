"""A Fabric Gateway client for Python, the content store, and the market client on top of it.

The parts, none of which needs the ones below it:

- ``gateway``: ``Gateway.connect`` → ``Network`` → ``Contract``: submit, evaluate; the steps beneath in ``transaction``;
- ``identity``, ``wallet``, ``connection``: who connects, and where to;
- ``events``, ``deliver``, ``checkpoint``: chaincode events and blocks, resumed where a consumer got to;
- ``endorser``: calls straight at one peer; ``errors``: what can go wrong, by stage;
- ``blocks``, ``trust``, ``verifier``, ``audit``: checking the ledger for oneself;
- ``sync``: the same without asyncio;
- ``store``: blobs under their digest;
- ``market``: the market's contract, typed.

Nothing is imported here, so that a program pays only for what it uses.
"""
