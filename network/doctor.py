"""Look a network over: what is wrong or soon will be, and what to do about it. Nothing is changed.

Programs and their release, a folder that is half made, ports that others took, certificates that expire, keys that
others may read, nodes that ended or are behind, clocks that differ, the disk.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.gateway.connection import ConnectionProfile

from .clocks import clock_difference
from .creation import is_network, is_unfinished
from .errors import FabricProgramsMissing, FabricTooOld, NetworkError
from .home import Home
from .identities import own_identity
from .nodes import run_nodes
from .ports import is_free
from .programs import find_programs
from .renewal import node_names
from .runners import runner_of, runtime_of
from .runtime import is_running, query_status
from .status import NetworkStatus, first_expiry
from .topology import Topology

Level = Literal["good", "warning", "problem"]
SOON = timedelta(days=30)
AUTHORITY_DAYS = 180
AUTHORITY_SOON = timedelta(days=AUTHORITY_DAYS)
"""An authority's renewal takes signatures, cards that are sent around, and a vote: it is warned of in time."""
SKEW_S = 2.0
LEAST_FREE = 1024**3
_BEHIND = 10


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it stands, and, unless it is good, what to do."""

    level: Level
    what: str
    advice: str = ""


async def examine(home: Home, *, now: datetime | None = None) -> list[Finding]:
    """Look a network's folder over, and its nodes where it runs.

    Args:
        home: the folder; one without a network is looked at as the place of a future one.
        now: what time it is.

    """
    now = now or datetime.now(UTC)
    found = [await _programs(needed=runtime_of(home) == "native"), _disk(home)]
    if is_unfinished(home):
        advice = "`goldengrain network up` clears it away and starts afresh"
        return [*found, Finding("problem", f"{home.path} holds a network that was never finished", advice)]
    if not is_network(home):
        return [*found, Finding("good", f"no network in {home.path} yet", "")]
    try:
        topology = home.load_topology()
    except NetworkError as error:
        return [*found, Finding("problem", str(error), "restore topology.yaml, or `goldengrain network destroy`")]
    found += _certificates(home, topology, now)
    found += _keys(home)
    if not is_running(home):
        return [*found, *_ports(topology), Finding("warning", "the network does not run", "`goldengrain network up`")]
    status = await query_status(home)
    return [*found, *_nodes(home, status), *await _clocks(home, topology)]


async def _programs(*, needed: bool) -> Finding:
    try:
        programs = await find_programs()
    except FabricTooOld as error:
        return Finding("problem" if needed else "warning", str(error), "fetch Fabric 3 (2.5 does, without SmartBFT)")
    except FabricProgramsMissing as error:
        if not needed:
            return Finding("good", "Fabric's own programs are not here; the embedded runtime needs none")
        return Finding("problem", str(error), "set FABRIC_BIN to the folder with Fabric's peer and orderer")
    return Finding("good", f"Fabric's programs in {programs.peer.parent}: {programs.release}")


def _disk(home: Home) -> Finding:
    place = next(path for path in (home.path.absolute(), *home.path.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"{free / 1024**3:.1f} GiB free for {home.path}"
    if free >= LEAST_FREE:
        return Finding("good", text)
    return Finding("problem", text, "make room: peers and orderers stop when they can't write a block")


def _certificates(home: Home, topology: Topology, now: datetime) -> Iterator[Finding]:
    """Nodes' and users' certificates that have expired or soon will."""
    soon = 0
    for owner in topology.everyone:
        users = sorted(path.name.partition("@")[0] for path in (home.organization(owner) / "users").glob("[!.]*"))
        for name in [*users, *node_names(home, owner)]:
            folders = [home.user(owner, name), *home.organization(owner).glob(f"*/{name}")]
            expiry = next((found for folder in folders if (found := first_expiry(folder))), None)
            if expiry is None or expiry > now + SOON:
                continue
            soon += 1
            level: Level = "problem" if expiry <= now else "warning"
            word = "expired" if expiry <= now else "expires"
            advice = f"`goldengrain identity renew {owner.name} {name}`"
            yield Finding(level, f"the certificate of {name} of {owner.name} {word} on {expiry:%Y-%m-%d}", advice)
        for kind in ("cacerts", "tlscacerts"):
            expiry = _authority_expiry(home.organization(owner) / "msp" / kind)
            if expiry is None or expiry > now + AUTHORITY_SOON:
                continue
            soon += 1
            level = "problem" if expiry <= now else "warning"
            word = "expired" if expiry <= now else "expires"
            own = (home.organization(owner) / "ca").exists()
            advice = f"`goldengrain identity renew {owner.name} --authorities`"
            elsewhere = f"{owner.name} renews it ({advice}) and hands its card out for `goldengrain org accept`"
            what = "TLS authority" if kind == "tlscacerts" else "authority"
            text = f"the certificate of the {what} of {owner.name} {word} on {expiry:%Y-%m-%d}"
            yield Finding(level, text, advice if own else elsewhere)
    if not soon:
        yield Finding("good", f"no certificate expires within {SOON.days} days, no authority's within {AUTHORITY_DAYS}")


def _authority_expiry(folder: Path) -> datetime | None:
    found = [x509.load_pem_x509_certificate(path.read_bytes()) for path in sorted(folder.glob("*"))]
    return min((one.not_valid_after_utc for one in found), default=None)


def _keys(home: Home) -> Iterator[Finding]:
    """Private keys that others than their owner may read."""
    keys = [*home.organizations.rglob("priv_sk"), *home.organizations.rglob("*.key"), *home.wallet.glob("*.id")]
    loose = [path for path in keys if path.stat().st_mode & 0o077]
    if loose:
        text = f"{len(loose)} private keys can be read by others, the first: {loose[0]}"
        yield Finding("problem", text, f"chmod 600 {loose[0]}, and ask who read it")
    else:
        yield Finding("good", f"{len(keys)} private keys are their owner's only")


def _ports(topology: Topology) -> Iterator[Finding]:
    taken = 0
    nodes = [
        (peer.host(owner), (peer.port, peer.operations_port, peer.chaincode_port)) for owner, peer in topology.peers()
    ]
    nodes += [(one.host(owner), (one.port, one.admin_port, one.operations_port)) for owner, one in topology.orderers()]
    for host, ports in nodes:
        for port in ports:
            if port and not is_free(port):
                taken += 1
                advice = f"stop the program that has it: `ss -ltnp 'sport = :{port}'` names it"
                yield Finding("problem", f"port {port} of {host} is in use by another program", advice)
    if not taken:
        yield Finding("good", "all ports are free")


def _nodes(home: Home, status: NetworkStatus) -> Iterator[Finding]:
    runner = runner_of(home)
    ended = {node.name for node in run_nodes(home) if not runner.is_alive(node)}
    newest = max((node.height or 0 for node in status.nodes), default=0)
    bad = 0
    for node in status.nodes:
        if node.answering and (node.height is None or node.height >= newest - _BEHIND):
            continue
        bad += 1
        if node.answering:
            advice = f"it catches up by itself; if not, `goldengrain network logs {node.name}` says why"
            yield Finding("warning", f"{node.name} has {node.height} of {newest} blocks", advice)
            continue
        word = "has ended" if node.name in ended else "does not answer"
        advice = f"`goldengrain network logs {node.name}`, then `goldengrain network restart {node.name}`"
        yield Finding("problem", f"{node.name} {word}", advice)
    if not bad:
        yield Finding("good", f"{len(status.nodes)} nodes answer; the chain has {newest} blocks")


async def _clocks(home: Home, topology: Topology) -> list[Finding]:
    """Compare this machine's clock with those of all nodes that answer, wherever they run."""
    who = next((found for one in topology.organizations if (found := own_identity(home, one)) is not None), None)
    if who is None:
        return []
    profile = ConnectionProfile.load(home.connection_profile(topology.organizations[0]))
    nodes = [(name, endpoint, False) for name, endpoint in profile.peers.items()]
    nodes += [(name, endpoint, True) for name, endpoint in profile.orderers.items()]
    channel, ahead = topology.channel.name, LedgerClock(home.clock_file).offset()
    differences = await asyncio.gather(
        *(clock_difference(endpoint, who, channel, orderer=orderer, ahead_s=ahead) for _, endpoint, orderer in nodes)
    )
    return judge_clocks({name: found for (name, _, _), found in zip(nodes, differences, strict=True)})


def judge_clocks(differences: Mapping[str, float | None]) -> list[Finding]:
    """What to say of the seconds by which nodes' clocks are ahead of this machine's; None for one that gave none."""
    known = {name: found for name, found in differences.items() if found is not None}
    findings = []
    for name, found in known.items():
        if abs(found) > SKEW_S:
            word = "ahead of" if found > 0 else "behind"
            advice = (
                "have both machines follow one time server (chrony, systemd-timesyncd): the market's contract refuses "
                "transactions whose time differs by more than W from a peer's clock"
            )
            text = f"the clock of {name} is {abs(found):.0f} s {word} this machine's"
            findings.append(Finding("problem", text, advice))
    if known and not findings:
        findings.append(Finding("good", f"the clocks of {len(known)} nodes agree with this machine's"))
    return findings
