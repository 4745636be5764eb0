"""Copies between organisations, and what a store may let go of."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.gateway.errors import BlobCorrupt, BlobNotFound, StoreRefused
from goldengrain.gateway.market.views import OfferView, TaskView, read
from goldengrain.gateway.store import FolderStore
from goldengrain.gateway.store.copying import copy, replicate
from goldengrain.gateway.store.needs import LABELS_S, collect, needs_of_offer, needs_of_task
from tests.chaincode.market.world import DEVELOPER, PROVIDER, World
from tests.gateway.store.conftest import CONTENT, DIGEST


@pytest.fixture
def stores(tmp_path: Path) -> tuple[FolderStore, FolderStore, FolderStore]:
    return FolderStore(tmp_path / "1"), FolderStore(tmp_path / "2"), FolderStore(tmp_path / "3")


@pytest.fixture
def world() -> World:
    return World.founded()


def damage(store: FolderStore) -> None:
    (store.folder / DIGEST.hex()).write_bytes(CONTENT[:-1] + b"x")


def test_what_is_lacking_comes_from_whoever_has_it_undamaged(
    stores: tuple[FolderStore, FolderStore, FolderStore],
) -> None:
    first, second, own = stores
    for store in (first, second):
        store.put_bytes(CONTENT)
    damage(first)
    only, there = second.put_bytes(b"only the second").digest, own.put_bytes(b"both").digest
    first.put_bytes(b"both")
    done = replicate([first, second], own)
    assert {one.digest for one in done.came} == {DIGEST, only}
    assert (done.were_there, done.failed) == ([there], {})
    assert own.read(DIGEST) == CONTENT


def test_what_nobody_has_whole_is_named_and_leaves_nothing(
    stores: tuple[FolderStore, FolderStore, FolderStore],
) -> None:
    first, second, own = stores
    first.put_bytes(CONTENT)
    damage(first)
    done = replicate([first, second], own, [DIGEST, bytes(32)])
    assert done.came == []
    assert done.failed[DIGEST].startswith("BLOB_CORRUPT")
    assert done.failed[bytes(32)].startswith("BLOB_NOT_FOUND")
    assert list(own) == []
    with pytest.raises(BlobCorrupt):
        copy(first, own, DIGEST)
    with pytest.raises(BlobNotFound):
        copy(second, own, DIGEST)


def offer_view(world: World, offer: bytes) -> OfferView:
    return read(OfferView, world.ask(q.GetOffer(offer)))


def test_a_model_is_needed_until_it_is_acknowledged_and_its_envelopes_until_it_is_decided(world: World) -> None:
    task = world.open_task(slots=4)
    offer = world.offer(task)
    order, envelopes = world.offer_record(offer).order, world.offer_record(offer).envelopes
    every = {order.ciphertext, *(one.digest for one in envelopes)}
    assert needs_of_offer(offer_view(world, offer)).keys() == every
    world.send(PROVIDER, c.Receipt(offer))
    world.claim(offer)
    assert needs_of_offer(offer_view(world, offer)).keys() == every
    world.reported(offer)
    assert needs_of_offer(offer_view(world, offer)).keys() == {order.ciphertext}
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    assert needs_of_offer(offer_view(world, offer)).keys() == {order.ciphertext}
    world.send(PROVIDER, c.Acknowledge(offer))
    assert needs_of_offer(offer_view(world, offer)) == {}
    withdrawn = world.offer(task, attempt=2)
    world.send(DEVELOPER, c.WithdrawOffer(withdrawn))
    assert needs_of_offer(offer_view(world, withdrawn)) == {}


def test_a_test_set_is_needed_until_its_labels_could_be_checked(world: World) -> None:
    view = read(TaskView, world.ask(q.GetTask(world.open_task())))
    task, guard = view.task, view.task.terms.guard
    keys = {one.digest for one in view.envelopes}
    assert needs_of_task(view, world.now).keys() == {task.dataset.ciphertext, *keys}
    assert needs_of_task(view, task.last_report + guard).keys() >= keys
    assert needs_of_task(view, task.last_report + guard + 1).keys() == {task.dataset.ciphertext}
    assert needs_of_task(view, task.last_opening + guard + LABELS_S).keys() == {task.dataset.ciphertext}
    assert needs_of_task(view, task.last_opening + guard + LABELS_S + 1) == {}


def _in_order(store: FolderStore, whys: dict[bytes, str]) -> list[str]:
    return [whys[digest] for digest in store]


def test_collecting_keeps_what_is_needed_young_or_others(stores: tuple[FolderStore, FolderStore, FolderStore]) -> None:
    store = stores[0]
    needed, other = store.put_bytes(b"needed").digest, store.put_bytes(b"other").digest
    now = time.time()
    assert collect(store, {needed: "a task"}, now).removed == []  # both are young
    tried: list[bytes] = []
    trial = collect(store, {needed: "a task"}, now + 90_000, remove=tried.append)
    assert (tried, [one.digest for one in trial.removed]) == ([other], [other])
    assert store.has(other)

    def refuse(digest: bytes) -> None:
        raise StoreRefused("another's")

    refused = collect(store, {needed: "a task"}, now + 90_000, remove=refuse)
    assert (refused.removed, [why for _, why in refused.kept]) == (
        [],
        _in_order(store, {needed: "a task", other: "another's"}),
    )
    done = collect(store, {needed: "a task"}, now + 90_000)
    assert [one.digest for one in done.removed] == [other]
    assert [why for _, why in done.kept] == ["a task"]
    assert list(store) == [needed]
