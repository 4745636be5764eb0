"""Every promise starts from a copy of a founded market."""

from __future__ import annotations

import pytest

from tests.chaincode.market.world import World


@pytest.fixture
def world() -> World:
    return World.founded()


@pytest.fixture
def task(world: World) -> bytes:
    return world.open_task()
