"""The contract `golden-grain`: the rules of the market, without any I/O of their own.

A rule is a generator (see `rules`): it asks for the records it needs, is sent what was read, and returns what to write,
which event to emit and what to answer. Whoever drives it does the reading and writing: `adapter` on a peer through the
chaincode shim, `memory` in one process for tests and simulations. Both run the very same rules.

    command (protocol.commands)  ->  rule  ->  reads (at most 3)  ->  Effects(writes, event, result)

`contract` lists the functions; the rules are in `governance`, `credits`, `enclaves`, `tasks`, `offers`, `claims`,
`reports`, `settlement` and `queries`. `keys` says which key holds what, `records` what is in it.
"""
