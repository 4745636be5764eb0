"""`goldengrain enclave collateral`: fetch it from a caching service, see how the ledger's stands, renew that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.collateral import Collateral, examine, read_collateral
from goldengrain.chaincode.protocol.errors import CollateralNotFound, GoldenGrainError
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import AttestationRoot, RootKind
from goldengrain.cli.command import Group, command
from goldengrain.cli.errors import CommandLineError, FileRefused
from goldengrain.cli.founding import root_folder
from goldengrain.cli.market_session import MarketSession, market_session
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.session import home_of
from goldengrain.cli.timing import moment
from goldengrain.enclave.quoting import DevelopmentRoot
from goldengrain.enclave.verify import INTEL, root_certificate
from goldengrain.gateway.collateral import Cache, Outlook, Pccs, outlook
from goldengrain.network.home import Home, write_atomically

INTEL_SERVICE = "https://api.trustedservices.intel.com"

service_option = click.option(
    "--pccs", metavar="URL", help="Caching service.  [default: GOLDENGRAIN_PCCS, else Intel's own]"
)
roots_option = click.option(
    "--pccs-ca", type=click.Path(path_type=Path, dir_okay=False), help="PEM: who signs the service's TLS certificate."
)
tee_option = click.option(
    "--tee", type=click.Choice([one.value for one in Tee]), default=Tee.SGX.value, show_default=True
)


@dataclass(frozen=True)
class Stand:
    """A platform kind's collateral on the ledger, and how it stands; `newest` is the service's, where it was asked."""

    root: AttestationRoot
    tee: Tee
    fmspc: bytes
    stored: Collateral | None
    newest: Collateral | None
    view: Outlook | None
    failure: GoldenGrainError | None

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        stored = self.stored
        return {
            "root": self.root.id.hex(),
            "simulated": self.root.kind is RootKind.SIMULATED,
            "tee": self.tee.value,
            "fmspc": self.fmspc.hex(),
            "expires": None if stored is None else stored.expires,
            "evaluation": None if stored is None else stored.tcb_evaluation,
            "newest_evaluation": None if self.newest is None else self.newest.tcb_evaluation,
            "due": self.view is None or self.view.due,
            "warnings": ["missing"] if self.view is None else [str(one) for one in self.view.warnings],
            "failure": None if self.failure is None else {"code": self.failure.code, "message": str(self.failure)},
        }


@dataclass(frozen=True)
class Caches:
    """A cache for each root: a service's; for a simulated root, unless a service is named, what this folder issues."""

    home: Home
    service: Pccs
    named: bool = False

    def of(self, root: AttestationRoot) -> Cache:
        """The cache of what is signed under a root."""
        folder = self.home.path / "collateral" / root.id.hex()[:16]
        issued = root.kind is RootKind.SIMULATED and not self.named
        return Cache(folder, self._issued if issued else self.service.fetch)

    def _issued(self, fmspc: bytes, tee: Tee) -> str:
        now = LedgerClock(self.home.clock_file).now()
        return DevelopmentRoot.load(root_folder(self.home)).collateral(at=now, fmspc=fmspc, tee=tee)


@click.group(cls=Group)
def collateral() -> None:
    """Fetch collateral, see how the ledger's stands, renew it."""


@command(collateral, example="goldengrain enclave collateral fetch 00606a000000 --pccs https://pccs.example.com:8081")
@click.argument("fmspc")
@tee_option
@service_option
@roots_option
@click.option("--root", type=click.Path(path_type=Path, dir_okay=False), help="Root certificate.  [default: Intel's]")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="File.  [default: collateral.json]")
async def fetch(
    context: click.Context,
    fmspc: str,
    tee: str,
    pccs: str | None,
    pccs_ca: Path | None,
    root: Path | None,
    output: Path | None,
) -> None:
    """Fetch the collateral of a platform kind, verify it, and write it to a file. FMSPC: 12 hex digits."""
    home = home_of(context)
    service, now = _service(pccs, pccs_ca), LedgerClock(home.clock_file).now()
    with console(context).status(f"asking {service.url}"):
        text = service.fetch(_fmspc(fmspc), Tee(tee))
    trusted = root_certificate(INTEL if root is None else _read(root), text)
    good = read_collateral(text, trusted, now)
    path = output or Path("collateral.json")
    write_atomically(path, text.encode())
    value = {"file": str(path), "expires": good.expires, "evaluation": good.tcb_evaluation, "tee": good.tee.value}
    emit(context, value, [f"{path}: {good.tee} {good.fmspc.hex()}, evaluation {good.tcb_evaluation}, {_until(good)}"])


@command(collateral, example="goldengrain enclave collateral status --pccs https://pccs.example.com:8081")
@service_option
@roots_option
@click.option("--offline", is_flag=True, help="Don't ask the service: no word of TCB recoveries.")
async def status(context: click.Context, pccs: str | None, pccs_ca: Path | None, offline: bool) -> int:
    """Show the collateral that registered enclaves rest on. Exit code 3 if it is due or there is a warning."""
    async with market_session(context) as opened:
        cache = None if offline else caches(opened.home, pccs, pccs_ca)
        stands = await _stands(opened, cache)
    emit(context, {"collateral": [one.to_json() for one in stands]}, _shown(stands))
    return 3 if any(one.view is None or one.view.due or one.view.warnings for one in stands) else 0


@command(collateral, example="goldengrain enclave collateral renew --pccs https://pccs.example.com:8081")
@service_option
@roots_option
@click.option("--all", "everything", is_flag=True, help="Renew also what isn't due.")
async def renew(context: click.Context, pccs: str | None, pccs_ca: Path | None, everything: bool) -> int:
    """Fetch what is due of the collateral that enclaves rest on, and store it on the ledger."""
    async with market_session(context) as opened:
        stands = await _stands(opened, caches(opened.home, pccs, pccs_ca))
        renewed, failed = [], []
        for one in stands:
            if one.failure is not None:
                failed.append(one)
            if one.newest is None or not (everything or one.view is None or one.view.due):
                continue
            if one.stored is None or one.newest.text != one.stored.text:
                done = await opened.market.enclaves.put_collateral(one.root.id, one.newest.text)
                renewed.append({**one.to_json(), "expires": one.newest.expires, "transaction": done.transaction_id})
    lines = [f"renewed {one['tee']} {one['fmspc']} until {moment(one['expires'])}" for one in renewed]
    lines += [f"{one.tee} {one.fmspc.hex()}: {one.failure.code}: {one.failure}" for one in failed if one.failure]
    emit(context, {"renewed": renewed, "failed": [one.to_json() for one in failed]}, lines or ["nothing was due"])
    return 1 if failed else 0


async def _stands(opened: MarketSession, cache: Caches | None) -> list[Stand]:
    """One for each root and platform kind that registered enclaves are of."""
    policy, now = (await opened.market.consortium.policy()).policy, opened.now
    kinds = {(one.root, one.fmspc) async for one in opened.market.enclaves.listing() if not one.revoked}
    found = []
    for root_id, fmspc in sorted(kinds):
        root = policy.root(root_id)
        for tee in Tee:
            if root is None:
                continue  # the policy no longer accepts it
            stored = await _stored(opened, root, fmspc, tee, now)
            if stored is None and tee is Tee.TDX:
                continue  # no guest of this kind has ever been registered
            found.append(_stand(root, tee, fmspc, stored, cache, now))
    return found


async def _stored(opened: MarketSession, root: AttestationRoot, fmspc: bytes, tee: Tee, now: int) -> Collateral | None:
    try:
        view = await opened.market.enclaves.collateral(root.id, fmspc, tee)
    except CollateralNotFound:
        return None
    return examine(view.text, root.certificate)


def _stand(
    root: AttestationRoot, tee: Tee, fmspc: bytes, stored: Collateral | None, cache: Caches | None, now: int
) -> Stand:
    newest, failure = None, None
    if cache is not None:
        try:
            kept = cache.of(root)
            newest, failure = kept.get(fmspc, tee, root.certificate, now, anew=True), kept.failure
        except GoldenGrainError as error:
            failure = error
    view = None if stored is None else outlook(stored, now, newest)
    return Stand(root, tee, fmspc, stored, newest, view, failure)


def _shown(stands: list[Stand]) -> list[Any]:
    rows = []
    for one in stands:
        warnings = [str(each) for each in one.view.warnings] if one.view else ["missing"]
        warnings += [f"{one.failure.code}: {one.failure}"] if one.failure else []
        until = _until(one.stored) if one.stored else "-"
        rows.append((one.root.kind.value, one.tee.value, one.fmspc.hex(), until, ", ".join(warnings) or "good"))
    return [table("Collateral", ("root", "TEE", "FMSPC", "on the ledger", "stands"), rows)]


def _until(collateral: Collateral) -> str:
    return f"good until {moment(collateral.expires)}"


def named_service(url: str | None) -> str | None:
    """The caching service that somebody has named."""
    return url or os.environ.get("GOLDENGRAIN_PCCS") or None


def caches(home: Home, url: str | None, roots: Path | None) -> Caches:
    """Caches of what a named service gives, else Intel's own."""
    return Caches(home, _service(url, roots), named_service(url) is not None)


def _service(url: str | None, roots: Path | None) -> Pccs:
    return Pccs(named_service(url) or INTEL_SERVICE, roots)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}") from error


def _fmspc(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 6:
        raise CommandLineError(f"{text[:80]!r} is no FMSPC: 12 hex digits, as `enclave verify-quote` shows them")
    return value
