"""The chaincode operations that `benchmarks chaincode` measures, once on our shim and once on Go's.

| function | what it does |
| --- | --- |
| put | writes 100 bytes |
| update | reads a key, then writes it |
| pay | reads two JSON records in one message, changes both, writes both |
| many | reads 20 keys in one message, writes them in one |
| range | reads 100 JSON records and sums them up (evaluated) |
| index | writes a composite key and sets an event |
| seal | writes a private value that came as transient data |
"""
