"""Promise 11: a quote is refused when debug, wrongly measured, bound to other keys, out of date, or expired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.errors import (
    CollateralExpired,
    ContractError,
    QuoteDebug,
    QuoteKeysMismatch,
    QuoteMeasurementRefused,
    QuoteRegistrationMismatch,
    QuoteStatusRefused,
)
from tests.chaincode.market.world import OPERATOR3, World, enclave2, enclave3, word


def debug(world: World) -> c.RegisterEnclave:
    return world.registration(enclave3(), debug=True)


def wrongly_measured(world: World) -> c.RegisterEnclave:
    return world.registration(enclave3(), measurement=word("another program"))


def out_of_date(world: World) -> c.RegisterEnclave:
    return world.registration(enclave3(), tcb="OutOfDate")


def of_other_keys(world: World) -> c.RegisterEnclave:
    return replace(world.registration(enclave3()), encryption_key=enclave2().encryption)


def for_another_challenge(world: World) -> c.RegisterEnclave:
    return replace(world.registration(enclave3()), challenge=world.challenge(OPERATOR3))


def expired(world: World) -> c.RegisterEnclave:
    world.at(world.now + 400 * 86_400)
    return world.registration(enclave3())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (debug, QuoteDebug),
        (wrongly_measured, QuoteMeasurementRefused),
        (out_of_date, QuoteStatusRefused),
        (of_other_keys, QuoteKeysMismatch),
        (for_another_challenge, QuoteRegistrationMismatch),
        (expired, CollateralExpired),
    ],
)
def test_a_quote_with_one_defect_is_refused_for_it(
    world: World, make: Callable[[World], c.RegisterEnclave], error: type[ContractError]
) -> None:
    wanted = make(world)
    before = dict(world.ledger.state)
    with pytest.raises(error):
        world.send(OPERATOR3, wanted)
    assert world.ledger.state == before


def test_the_same_quote_without_a_defect_is_accepted(world: World) -> None:
    world.send(OPERATOR3, world.registration(enclave3()))
