"""Found a market on a network whose organisations' keys are all at hand: a test market, and marked as such.

Deploys the contract, makes a development root for simulated attestation, issues an operator for every organisation and
proposes the first policy. A consortium does the same in steps, each organisation with its own keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from goldengrain.chaincode.protocol.accounts import account_of
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import PolicyNotFound
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy, TrustBundle
from goldengrain.chaincode.protocol.quotes import VERIFIER
from goldengrain.cli import contract_process
from goldengrain.cli.contexts import CONTRACT
from goldengrain.cli.errors import CommandLineError
from goldengrain.cli.session import connect, endpoint_for
from goldengrain.enclave.measurement import simulated_measurement
from goldengrain.enclave.quoting.bodies import measurement_of
from goldengrain.enclave.quoting.development_root import DevelopmentRoot
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.market import Market
from goldengrain.gateway.wallet import Wallet
from goldengrain.network import lifecycle
from goldengrain.network.channel_admin import read_config
from goldengrain.network.errors import NetworkIncomplete
from goldengrain.network.home import Home, write_atomically
from goldengrain.network.packaging import ccaas_package
from goldengrain.network.pki import identity_names, issue_identity, load_identity
from goldengrain.network.profiles import add_to_wallet
from goldengrain.network.topology import Organization, Topology
from goldengrain.network.trust_bundle import trust_bundle

VERSION = "1.0"
OPERATOR = "operator"
BUNDLE = "trust-bundle.json"


@dataclass(frozen=True)
class FoundingTerms:
    """Times (seconds), amounts (smallest units) and shares (basis points) that a test market starts with.

    W, G and R are far below what the protocol asks of a real market, so that nobody waits for minutes; the policy is
    marked ``test`` for it.
    """

    window: int = 20
    guard: int = 45
    reveal_min: int = 120
    reveal_max: int = 86_400
    lease_min: int = 5
    lease_max: int = 3_600
    benchmark_fee: int = 200
    deposit: int = 1_000
    market_fee: int = 250
    bond: int = 500
    audit_bond: int = 200
    attempts_max: int = 8


async def market_up(home: Home) -> str:
    """Deploy the contract, start it and found the market; what is done already stays. Returns the package id.

    Raises:
        LifecycleFailed, ProcessFailed: where a step does not work.
        ContractError: where the contract refuses the policy.

    """
    package_id = await deploy_contract(home)
    topology = home.load_topology()
    async with connect_any_admin(home) as gateway:
        market = Market(gateway.network(topology.channel.name), CONTRACT)
        try:
            await market.consortium.policy()
        except PolicyNotFound:
            await market.consortium.bootstrap(await first_policy(home, topology))
    return package_id


async def deploy_contract(home: Home) -> str:
    """Deploy the contract for every organisation whose keys are here, and start its process. Returns the package id."""
    address = contract_process.assign(home).package_address
    package_id = ccaas_package(f"{CONTRACT}_{VERSION}", address).package_id  # the process need not wait for its answer
    starting = asyncio.create_task(asyncio.to_thread(contract_process.start, home, package_id))
    try:
        await lifecycle.deploy(home, CONTRACT, VERSION, address, clock=LedgerClock(home.clock_file))
    finally:
        await starting
    return package_id


async def approve_contract(home: Home) -> None:
    """Have members that have come approve the contract that this folder runs, unless another version has followed."""
    found = await lifecycle.committed(home, CONTRACT)
    if found is not None and found.version == VERSION:
        await deploy_contract(home)


async def first_policy(
    home: Home, topology: Topology, terms: FoundingTerms | None = None, operators: Collection[bytes] = ()
) -> Policy:
    """The first policy of a test market: a majority of organisations decides, simulated attestation is accepted.

    Its operators are those whose organisation's authority is in the folder, and those given.
    """
    terms = terms or FoundingTerms()
    config = await read_config(home, topology.channel.name)
    bundle = trust_bundle(config, topology.channel.name, CONTRACT, window=terms.window, required=1)
    organizations = tuple(one.msp_id for one in bundle.organizations)
    required = len(organizations) // 2 + 1
    bundle = replace(bundle, required=required)
    keep_bundle(home, bundle)
    own = [operator_account(home, one) for one in topology.organizations if issues_operators(home, one)]
    return Policy(
        number=1,
        organizations=organizations,
        required=required,
        colluding=len(organizations) - required,
        window=terms.window,
        guard=terms.guard,
        reveal_min=terms.reveal_min,
        reveal_max=terms.reveal_max,
        challenge_age=3_600,
        enclave_age=7 * 86_400,
        proposal_age=86_400,
        roots=(AttestationRoot(development_root(home).root_der),),
        measurements=tuple(measurement_of(tee, simulated_measurement()) for tee in Tee),
        statuses=("UpToDate",),
        operators=tuple(sorted({*own, *operators})),
        bundle=bundle.digest(),
        previous_bundle=None,
        previous_bundle_sunset=None,
        benchmark_fee=terms.benchmark_fee,
        market_fee=terms.market_fee,
        bond=terms.bond,
        audit_bond=terms.audit_bond,
        deposit=terms.deposit,
        lease_min=terms.lease_min,
        lease_max=terms.lease_max,
        attempts_max=terms.attempts_max,
        verifier=VERIFIER,
    ).marked()


def keep_bundle(home: Home, bundle: TrustBundle) -> None:
    """Write the trust bundle in force, for enclaves that are started from now on; those of before stay, by digest."""
    for path in (home.path / "trust-bundles" / f"{bundle.digest().hex()}.json", bundle_file(home)):
        write_atomically(path, bundle.to_bytes())


def bundle_of(home: Home, digest: bytes) -> Path:
    """Where the trust bundle of a digest lies; the one in force where there is none of it here."""
    kept = home.path / "trust-bundles" / f"{digest.hex()}.json"
    return kept if kept.exists() else bundle_file(home)


def bundle_file(home: Home) -> Path:
    """Where the trust bundle in force lies for the enclaves of this folder that are started for the first time."""
    return home.path / BUNDLE


def development_root(home: Home) -> DevelopmentRoot:
    """The development root of this folder's simulated enclaves; made when it is first asked for."""
    folder = root_folder(home)
    return DevelopmentRoot.load(folder) if (folder / "root.key").exists() else DevelopmentRoot.create(folder)


def root_folder(home: Home) -> Path:
    """Where the development root lies."""
    return home.path / "simulated-root"


def identity_label(home: Home, organization: Organization, name: str) -> str:
    """The wallet label of an identity, which is issued and put into the wallet if the organisation has none yet."""
    if name not in identity_names(home, organization):
        return add_to_wallet(home, issue_identity(home, organization, name))
    return add_to_wallet(home, load_identity(home, organization, name))


def operator_account(home: Home, organization: Organization) -> bytes:
    """The account of an organisation's operator of enclaves."""
    identity = Wallet(home.wallet).identity(identity_label(home, organization, OPERATOR))
    return account_of(identity.msp_id, identity.certificate)


def issues_operators(home: Home, organization: Organization) -> bool:
    """Whether an organisation has an operator here, or an authority that issues one."""
    authority = home.organization(organization) / "ca" / "priv_sk"
    return OPERATOR in identity_names(home, organization) or authority.exists()


def connect_admin(home: Home, organization: Organization) -> Gateway:
    """A connection as an organisation's Admin."""
    credentials = Wallet(home.wallet).get(f"Admin@{organization.domain}")
    return connect(home, credentials, endpoint_for(home, organization.msp_id, organization.name))


def connect_any_admin(home: Home) -> Gateway:
    """A connection as the first organisation's Admin whose key is here. Raises NetworkIncomplete."""
    for organization in home.load_topology().organizations:
        if (home.user(organization, "Admin") / "msp" / "keystore").exists():
            return connect_admin(home, organization)
    raise NetworkIncomplete(f"{home.organizations} holds no Admin's key; who has one has to do this")


async def require_test_policy(home: Home) -> None:
    """Refuse to move time where a market was founded for real.

    Raises:
        CommandLineError: if the policy in force is not marked ``test``.

    """
    if contract_process.load(home) is None:
        return
    topology = home.load_topology()
    async with connect_any_admin(home) as gateway:
        try:
            policy = (await Market(gateway.network(topology.channel.name), CONTRACT).consortium.policy()).policy
        except PolicyNotFound:
            return
    if not policy.test:
        raise CommandLineError("this market's policy is not marked `test`: its time is real and cannot be moved")
