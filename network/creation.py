"""Create a network's folder, find an existing one fit to run, and remove all that a network made."""

from __future__ import annotations

import shutil
from contextlib import suppress

from .errors import NetworkIncomplete, TopologyConflict
from .genesis import write_genesis
from .home import Home
from .pki import create_pki
from .ports import assign_ports, same_but_ports
from .profiles import write_profiles, write_wallet
from .topology import Topology

_UNFINISHED = ".unfinished"  # exists while a network is being created
_MADE_HERE = ("organizations", "channels", "wallet", "topology.yaml")
_NEVER_OVERWRITTEN = ("organizations", "channels", "wallet", "ledger", "nodes")
_MADE_LATER = (
    "ledger",
    "logs",
    "nodes",
    "store",
    "trust-bundles",
    "clock",
    "clock.lock",
    "simulated-root",
    "secrets",
    "enclaves",
    "snapshots",
    "bought",
)
_STATE_FILES = (
    "network.json",
    "contract.json",
    "contract.lock",
    "contexts.json",
    "trust-bundle.json",
    "stores.json",
    "network.yaml",
    "network.bundle",
    "compose.yaml",
)


def create(
    home: Home, topology: Topology, *, administration: bool = False, channel_capability: str | None = None
) -> Topology:
    """Make a network's folder, but start nothing; all or nothing.

    Args:
        home: a folder without a network.
        topology: ports of 0 are assigned.
        administration: assign the ports that only the native runtime has as well.
        channel_capability: see `genesis_block`.

    Returns:
        The topology with its ports.

    Raises:
        NetworkError: one of its kinds; nothing is left behind.

    """
    marker = home.path / _UNFINISHED
    if marker.exists():  # an earlier attempt was killed
        remove_created(home)
    assigned = assign_ports(topology, administration=administration)
    home.path.mkdir(parents=True, exist_ok=True)
    for name in _NEVER_OVERWRITTEN:
        if (home.path / name).exists():
            raise NetworkIncomplete(
                f"{home.path / name} exists, but {home.topology_file} does not: restore that file, or choose another "
                "folder with --home"
            )
    marker.touch()
    try:
        create_pki(home, assigned)
        for channel in assigned.channels:
            write_genesis(home, assigned, channel=channel, channel_capability=channel_capability)
        write_profiles(home, assigned)
        write_wallet(home, assigned)
        home.save_topology(assigned)
    except BaseException:
        remove_created(home)
        raise
    finally:
        marker.unlink(missing_ok=True)
    return assigned


def existing(home: Home, wanted: Topology | None, *, runtime: str) -> Topology | None:
    """Read the topology of the network in a folder; None if it holds none.

    Args:
        home: the folder.
        wanted: what it should be, None for anything.
        runtime: `embedded`, `native` or `docker`, which is about to run it.

    Raises:
        TopologyConflict: if another one is wanted (a port of 0 stands for any), or if another runtime has its ledger
            or can't reach its nodes.
        NetworkIncomplete: if its certificates or its genesis block are missing.

    """
    if not home.topology_file.exists():
        return None
    (home.path / _UNFINISHED).unlink(missing_ok=True)  # the topology is written last
    topology = home.load_topology()
    if wanted is not None and not same_but_ports(topology, wanted):
        raise TopologyConflict(
            f"{home.path} holds a network of another topology ({home.topology_file}); leave the topology out to start "
            "that one, choose another folder with --home, or `goldengrain network down --purge` to be rid of it"
        )
    other = home.nodes if runtime == "embedded" else home.ledger
    if other.exists():
        raise TopologyConflict(
            f"the network in {home.path} has its ledger in {other}, which the {runtime} runtime cannot use; "
            "choose another folder with --home"
        )
    if runtime != "docker" and topology.has_bridge:
        raise TopologyConflict(
            f"the network in {home.path} is of containers on a bridge network; use `--runtime docker`, or choose "
            "another folder with --home"
        )
    for path in (home.organizations, *(home.genesis_file(channel.name) for channel in topology.channels)):
        if not path.exists():
            raise NetworkIncomplete(
                f"{path} is missing; restore it, or start afresh after `goldengrain network down --purge`"
            )
    return topology


def is_network(home: Home) -> bool:
    """Whether the folder holds a network, even a half-created one."""
    return home.topology_file.exists() or (home.path / _UNFINISHED).exists() or home.lock_file.exists()


def is_unfinished(home: Home) -> bool:
    """Whether creating a network was begun in a folder and never finished."""
    return (home.path / _UNFINISHED).exists() and not home.topology_file.exists()


def remove_created(home: Home) -> None:
    """Undo `create` after a failure; logs stay."""
    _remove(home, (*_MADE_HERE, "ledger", "nodes", "compose.yaml"))


def remove(home: Home) -> None:
    """Remove all that a network made (keys, ledgers, wallet, logs, the lock), and the folder if it is empty then."""
    _remove(home, (*_MADE_HERE, *_MADE_LATER, *_STATE_FILES, _UNFINISHED, home.lock_file.name))
    with suppress(OSError):
        home.path.rmdir()


def _remove(home: Home, names: tuple[str, ...]) -> None:
    for name in names:
        path = home.path / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
