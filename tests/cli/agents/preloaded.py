"""What agents import, imported once by the process that they are forked from."""

import goldengrain.cli.agent
import goldengrain.cli.enclave_process
import goldengrain.gateway.market  # noqa: F401 - imported once, for all forked agents
