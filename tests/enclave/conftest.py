from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.enclave.keys import EnclaveKeys

from .fabric import NOW, Consortium, Forge
from .market import Deal


@pytest.fixture(scope="session")
def consortium() -> Consortium:
    return Consortium()


@pytest.fixture(scope="session")
def forge(consortium: Consortium) -> Forge:
    return Forge(consortium)


@pytest.fixture(scope="session")
def bundle(consortium: Consortium) -> TrustBundle:
    return consortium.bundle()


@pytest.fixture(scope="session")
def keys() -> EnclaveKeys:
    return EnclaveKeys.make(NOW - 3_600)


@pytest.fixture(scope="session")
def deal(bundle: TrustBundle, keys: EnclaveKeys) -> Deal:
    return Deal.make(bundle, keys)
