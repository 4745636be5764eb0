"""`goldengrain store`: content stores from the command line."""

from __future__ import annotations

import re
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.cli.command import Group, command
from goldengrain.cli.contexts import Contexts
from goldengrain.cli.errors import CheckFailed, FileRefused
from goldengrain.cli.market_session import market_session
from goldengrain.cli.output import emit, table
from goldengrain.cli.progress import byte_progress
from goldengrain.cli.session import home_of
from goldengrain.cli.settings import settings
from goldengrain.cli.stores import Stores
from goldengrain.cli.timing import DURATION, moment
from goldengrain.gateway.store import ContentStore, Entry, FolderStore
from goldengrain.gateway.store.copying import replicate as copy_missing
from goldengrain.gateway.store.members import Members
from goldengrain.gateway.store.needs import collect, needed
from goldengrain.gateway.store.remote import RemoteStore
from goldengrain.gateway.store.server import Rights, StoreServer
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home
from goldengrain.network.topology import Organization

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_ALLOWED = re.compile(r"([^=]+)=(?:([0-9]{1,12})([kmgt]?)b?|(any))", re.IGNORECASE)
_STORE = click.option(
    "--store", "place", metavar="URL", help="A path, s3:…, grpcs:…, or an organisation.  [default: your organisation's]"
)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Group)
def store() -> None:
    """Put, get and serve sealed models, envelopes and test sets; copy them between organisations; clean up."""


@dataclass(frozen=True)
class _Here:
    """Who acts in which folder, on which store."""

    home: Home
    organization: Organization
    stores: Stores
    store: ContentStore


def _here(context: click.Context, place: str | None = None) -> _Here:
    home = home_of(context)
    label = settings(context).identity or Contexts(home).current.identity
    organization = _organization(home, Wallet(home.wallet).identity(label).msp_id)
    stores = Stores(home, label)
    return _Here(home, organization, stores, stores.at(place or organization.msp_id))


@command(store, example="goldengrain store serve --listen 127.0.0.1:7443 --allow Org2MSP=10G")
@click.option(
    "--listen", default="127.0.0.1:7443", show_default=True, metavar="HOST:PORT", help="Port 0: any free one."
)
@click.option(
    "--allow", multiple=True, metavar="MSP=SIZE", help="An organisation that may put so much: 500M, 10G, any."
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="[default: HOME/store/ORGANISATION]")
@click.option("--certificate", type=_FILE, help="TLS certificate, PEM.  [default: that of your organisation's peer]")
@click.option("--key", type=_FILE, help="Its private key, PEM.")
def serve(
    context: click.Context,
    listen: str,
    allow: tuple[str, ...],
    folder: Path | None,
    certificate: Path | None,
    key: Path | None,
) -> None:
    """Serve a folder to the channel's organisations until Ctrl+C: all may read, your own and those allowed may put."""
    home = home_of(context)
    current = Contexts(home).current
    label = settings(context).identity or current.identity
    organization = _organization(home, Wallet(home.wallet).identity(label).msp_id)
    tls = home.peer(organization, organization.peers[0]) / "tls"
    members = Members.from_config_block(home.genesis_file(current.channel))
    rights = Rights(organization.msp_id, dict(_quota(one) for one in allow))
    served = FolderStore(folder or home.path / "store" / organization.name)
    pair = _read(certificate or tls / "server.crt"), _read(key or tls / "server.key")
    with StoreServer(served, members, rights, *pair, listen) as server:
        value = {"address": server.address, "url": f"grpcs://{server.address}", "keeper": rights.keeper}
        emit(
            context, value, [f"serving {served.folder} of {rights.keeper} at grpcs://{server.address}; Ctrl+C ends it"]
        )
        sys.stdout.flush()

        def stop(_signal: int, _frame: FrameType | None) -> None:
            raise KeyboardInterrupt

        signal.signal(signal.SIGTERM, stop)
        try:
            server.wait()
        except KeyboardInterrupt:
            return


@command(store, example="goldengrain store use grpcs://127.0.0.1:7443")
@click.argument("url")
def use(context: click.Context, url: str) -> None:
    """Say where your organisation's store is; all other commands of this folder then use it."""
    here = _here(context)
    here.stores.use(here.organization.msp_id, url)
    emit(
        context,
        {"msp_id": here.organization.msp_id, "url": url},
        [f"{here.organization.msp_id} keeps its blobs at {url}"],
    )


@command(store, example="goldengrain store put model.sealed")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE…")
@_STORE
def put(context: click.Context, files: tuple[Path, ...], place: str | None) -> None:
    """Store files; prints the SHA-256 under which each can be had."""
    here, done = _here(context, place), []
    for path in files:
        size = path.stat().st_size if path.exists() else None
        with byte_progress(context, f"storing {path.name}", size) as progress:
            done.append((path, here.store.put_file(path, progress=progress)))
    value = [{"file": str(path), "digest": blob.digest.hex(), "size": blob.size} for path, blob in done]
    emit(context, {"blobs": value}, [f"{blob.digest.hex()}  {path}" for path, blob in done])


@command(store, example="goldengrain store get 9f86d081…0f00a08 --out model.sealed")
@click.argument("digest")
@click.option("--out", required=True, type=_FILE, help="File to write; it appears only once every byte is verified.")
@_STORE
def get(context: click.Context, digest: str, out: Path, place: str | None) -> None:
    """Fetch a blob into a file, verified."""
    here = _here(context, place)
    with byte_progress(context, "fetching", here.store.size(digest)) as progress:
        size = here.store.fetch(digest, out, progress=progress)
    emit(context, {"digest": digest, "size": size, "file": str(out)}, [f"{size:,} bytes in {out}, SHA-256 as asked"])


@command(store, example="goldengrain store ls --store Org2")
@_STORE
def ls(context: click.Context, place: str | None) -> None:
    """List what is in a store; of a server also how much of your organisation's share is taken."""
    here = _here(context, place)
    entries = list(here.store.entries())
    value: dict[str, object] = {"blobs": [_described(one) for one in entries]}
    lines = [table("Blobs", ("SHA-256", "bytes", "since", "of"), map(_row, entries))]
    extra = []
    if isinstance(here.store, RemoteStore):
        used, quota = here.store.usage()
        value |= {"used": used, "quota": quota}
        extra = [f"{used:,} bytes of {here.organization.msp_id}'s {'any' if quota is None else f'{quota:,}'} are taken"]
    emit(context, value, [*lines, *extra])


@command(store, example="goldengrain store rm 9f86d081…0f00a08")
@click.argument("digests", nargs=-1, required=True, metavar="DIGEST…")
@_STORE
def rm(context: click.Context, digests: tuple[str, ...], place: str | None) -> None:
    """Remove blobs."""
    here = _here(context, place)
    for digest in digests:
        here.store.remove(digest)
    emit(context, {"removed": list(digests)}, [f"removed {digest}" for digest in digests])


@command(store, example="goldengrain store gc --dry-run")
@click.option("--labels", type=DURATION, default="30d", show_default=True, help="Keep test sets so long after A.")
@click.option("--young", type=DURATION, default="1d", show_default=True, help="Keep what came within this time.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_STORE
async def gc(context: click.Context, labels: int, young: int, dry_run: bool, place: str | None) -> None:
    """Remove what no task and no offer of the market needs any more."""
    here = _here(context, place)
    async with market_session(context) as opened:
        with byte_progress(context, "asking the market", None):
            needs = await needed(opened.market, LedgerClock(here.home.clock_file).now(), labels)
    done = collect(here.store, needs, time.time(), young, remove=(lambda _: None) if dry_run else None)
    freed = sum(one.size for one in done.removed)
    value = {
        "removed": [_described(one) for one in done.removed],
        "kept": [_described(one) | {"because": why} for one, why in done.kept],
        "freed": freed,
        "dry_run": dry_run,
    }
    word = "would go" if dry_run else "removed"
    lines = [f"{one.digest.hex()}  {one.size:>12,}  {word}" for one in done.removed]
    emit(context, value, [*lines, f"{len(done.removed)} blobs {word}, {freed:,} bytes; {len(done.kept)} kept"])


@command(store, example="goldengrain store replicate --from Org2 --from Org3")
@click.argument("digests", nargs=-1, metavar="[DIGEST…]")
@click.option(
    "--from", "sources", multiple=True, required=True, metavar="URL", help="A store as in --store. Repeatable."
)
@click.option("--every", type=DURATION, help="Go on, looking again after so long, until Ctrl+C.")
@_STORE
def replicate(
    context: click.Context, digests: tuple[str, ...], sources: tuple[str, ...], every: int | None, place: str | None
) -> None:
    """Copy what a store lacks from others: the blobs named, or all they have; damaged ones from the next source."""
    here = _here(context, place)
    wanted = [_digest(one) for one in digests] or None
    while True:
        with byte_progress(context, "copying", None) as progress:
            done = copy_missing([here.stores.at(one) for one in sources], here.store, wanted, progress)
        value = {
            "copied": [{"digest": one.digest.hex(), "size": one.size} for one in done.came],
            "there": len(done.were_there),
            "failed": {digest.hex(): why for digest, why in done.failed.items()},
        }
        lines = [f"{one.digest.hex()}  {one.size:>12,}  copied" for one in done.came]
        lines += [f"{digest.hex()}  {why}" for digest, why in done.failed.items()]
        emit(context, value, [*lines, f"{len(done.came)} copied, {len(done.were_there)} were there"])
        if every is None:
            break
        sys.stdout.flush()
        time.sleep(every)
    if done.failed:
        raise CheckFailed(f"{len(done.failed)} blobs could not be copied; ask who made them to publish them again")


def _organization(home: Home, msp_id: str) -> Organization:
    return next(one for one in home.load_topology().organizations if one.msp_id == msp_id)


def _quota(text: str) -> tuple[str, int | None]:
    found = _ALLOWED.fullmatch(text)
    if found is None:
        raise click.UsageError(f"--allow {text}: write MSP=SIZE, such as Org2MSP=500M, Org2MSP=10G or Org2MSP=any")
    msp_id, number, unit, unlimited = found.groups()
    return msp_id, None if unlimited else int(number) * _UNITS[unit.lower()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}; name a certificate and its key") from error


def _digest(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise click.UsageError(f"{text!r} is no SHA-256: 64 lowercase hex digits")
    return bytes.fromhex(text)


def _described(entry: Entry) -> dict[str, object]:
    return {"digest": entry.digest.hex(), "size": entry.size, "stored": entry.stored, "owner": entry.owner or None}


def _row(entry: Entry) -> tuple[str, str, str, str]:
    return entry.digest.hex(), f"{entry.size:,}", moment(entry.stored), entry.owner
