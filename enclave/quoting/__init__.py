"""Sources of quotes: the simulated quoting enclave under a development root, Gramine, a TDX guest's kernel."""

from goldengrain.enclave.quoting.development_root import DevelopmentRoot
from goldengrain.enclave.quoting.simulated import SimulatedPlatform
from goldengrain.enclave.quoting.source import QuoteSource, SourceKind, open_source, simulated_source

__all__ = ["DevelopmentRoot", "QuoteSource", "SimulatedPlatform", "SourceKind", "open_source", "simulated_source"]
