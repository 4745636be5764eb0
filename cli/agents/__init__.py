"""Agents: long-running programs that do what one side of the market owes, in time.

What is owed follows from the ledger, the ledger's time and the secrets of the folder, each time anew (`Side.duties`),
so an agent that was killed anywhere has lost nothing: started again it finds the same duties but those that were done.
Two agents of one side at once try the same things; the contract takes each once.

- `duty`: what is owed, and what an agent says of it
- `watch`: tasks and offers that concern a side, kept up to date by the contract's events
- `agent`: the loop: do what is due, say what goes wrong, warn before a deadline
- `provider`, `developer`, `operator`: the three sides
"""
