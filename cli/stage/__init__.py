"""The demonstration: a whole market played on a network of its own (`goldengrain demo`).

`cast` makes identities and connections, `swap` plays the main job act by act, `scenarios` plays what goes wrong,
`audit` checks the ledger afterwards, `page` writes the HTML report.
"""
