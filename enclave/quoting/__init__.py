"""Sources of quotes. Today: the simulated quoting enclave under a development root."""

from goldengrain.enclave.quoting.development_root import DevelopmentRoot
from goldengrain.enclave.quoting.simulated import SimulatedPlatform

__all__ = ["DevelopmentRoot", "SimulatedPlatform"]
