"""Collateral of quotes from a caching service (PCCS, or Intel's own): fetched, kept on disk, renewed on the ledger.

::

    service = Pccs("https://pccs.example.com:8081")
    cache = Cache(folder, service)
    collateral = cache.get(fmspc, Tee.SGX, root, now)        # JSON, verified under the root
"""

from goldengrain.gateway.collateral.cache import Cache
from goldengrain.gateway.collateral.outlook import Outlook, Warned, outlook
from goldengrain.gateway.collateral.pccs import Pccs

__all__ = ["Cache", "Outlook", "Pccs", "Warned", "outlook"]
