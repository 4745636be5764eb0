"""`goldengrain enclave`: run and register enclaves, judge quotes."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.collateral import examine
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.quote_rules import DEFAULT, AllOf, read_rules
from goldengrain.cli import enclave_config, operating
from goldengrain.cli.agent import show, stopped_by_signals
from goldengrain.cli.agents.agent import AT_ONCE, Agent
from goldengrain.cli.agents.duty import Kind, Notice
from goldengrain.cli.agents.evidence import Evidence
from goldengrain.cli.agents.metrics import HOST, Metrics
from goldengrain.cli.agents.operator import Operator
from goldengrain.cli.collateral import collateral, roots_option
from goldengrain.cli.command import Group, command
from goldengrain.cli.enclave_process import EnclaveHost, EnclaveKeeper, attach, folder_of
from goldengrain.cli.enclave_process import trust as trust_again
from goldengrain.cli.errors import CommandLineError, FileRefused
from goldengrain.cli.following import take_over
from goldengrain.cli.market_session import MarketSession, market_session, short
from goldengrain.cli.operators import (
    NAME,
    challenger_option,
    challenging,
    evidence_for,
    metrics_option,
    parallel_option,
    pccs_option,
    prepare,
)
from goldengrain.cli.output import console, emit, table
from goldengrain.cli.roster import is_fit
from goldengrain.cli.session import home_of
from goldengrain.cli.settings import settings
from goldengrain.cli.task import SIMULATED
from goldengrain.cli.timing import DURATION, moment
from goldengrain.enclave.client import EnclaveClient
from goldengrain.enclave.quoting import SourceKind
from goldengrain.enclave.verify import INTEL, Verdict, parse_time, verify
from goldengrain.gateway.collateral import outlook

FILE = click.Path(path_type=Path, dir_okay=False)
MAX_FILE = 1024 * 1024
_LOOK_S = 0.1


@click.group(cls=Group)
def enclave() -> None:
    """Run enclaves, register them, build them for Gramine, judge quotes, keep collateral."""


enclave.add_command(collateral)


@command(enclave, example="goldengrain enclave build enclave-build --jobs 2")
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Jobs at once.")
@click.option("--memory", type=click.IntRange(64, 1 << 20), default=512, show_default=True, help="MiB a job may need.")
@click.option("--port", type=click.IntRange(1, 65_535), default=7400, show_default=True, help="Port on 127.0.0.1.")
def build(context: click.Context, output: Path, jobs: int, memory: int, port: int) -> None:
    """Build the enclave for Gramine: gather and hash what is measured, render the manifest.

    Then `gramine-manifest` and `gramine-sgx-sign`, as docs/enclave.md says. The same installation gives the same build.
    """
    from goldengrain.cli.gramine.build import MANIFEST, Terms
    from goldengrain.cli.gramine.build import build as built_into
    from goldengrain.cli.gramine.inputs import inputs

    terms = Terms(jobs, memory * 1024**2, port)
    with console(context).status("gathering and hashing"):
        built = built_into(output, inputs(), terms)
    value = {
        "folder": str(output),
        "manifest": built.manifest,
        "digest": built.digest,
        "files": len(built.files),
        "threads": terms.threads,
        "enclave_size": terms.enclave_size,
    }
    emit(context, value, [f"{len(built.files)} files, digest {built.digest}", f"manifest: {output / MANIFEST}"])


@command(enclave, example="goldengrain enclave run org2 --as operator@org2.example.com")
@NAME
@challenger_option
@click.option(
    "--quotes",
    type=click.Choice([one.value for one in SourceKind if one is not SourceKind.GRAMINE]),
    help="Where its quotes come from; it is remembered.  [default: simulated]",
)
@click.option("--jobs", type=click.IntRange(1), help="Stop after so many jobs.  [default: go on]")
@parallel_option
@metrics_option
@click.option("--idle", type=DURATION, help="Stop when there was nothing to do for so long.  [default: go on]")
@click.option("--lease", type=DURATION, help="Lease of a claim.  [default: 10m, within the policy's bounds and B]")
@pccs_option
@roots_option
async def run(
    context: click.Context,
    name: str | None,
    challenger: str | None,
    quotes: str | None,
    jobs: int | None,
    parallel: int,
    metrics: int | None,
    idle: int | None,
    lease: int | None,
    pccs: str | None,
    pccs_ca: Path | None,
) -> None:
    """Start an enclave, register it where it is not, and run jobs until Ctrl+C, so many, or until there are none.

    The operator's agent (`goldengrain agent operator`) with an end. NAME tells enclaves of one machine apart (default:
    the organisation's). A job that has begun is finished first. With --json what it does is logged on standard error,
    one JSON object a line.
    """
    home, name = home_of(context), prepare(context, name)
    if quotes is not None:
        enclave_config.save(folder_of(home, name), SourceKind(quotes))
    stop = stopped_by_signals()
    async with market_session(context) as opened:
        where = opened.context
        figures = Metrics()
        async with (
            EnclaveKeeper(home, name, channel=where.channel, contract=where.contract, jobs=parallel) as keeper,
            figures.served(metrics) as port,
        ):
            host = await keeper.host()
            async with host.client() as client:
                evidence = await evidence_for(opened, keeper, name, pccs, pccs_ca)
                await _registered(context, opened, client, challenger, evidence=evidence)
            _tell_ready(context, host, opened.msp_id, port)
            other = challenging(opened, challenger)
            side = Operator(opened.market, home, opened.stores, keeper, other, lease, parallel, evidence=evidence)
            shown = _Jobs(context, stop, jobs, idle, figures)
            agent = Agent(side, LedgerClock(home.clock_file), shown.note, AT_ONCE + parallel)
            watching = asyncio.create_task(shown.watch(agent))
            try:
                await agent.work(stop)
            finally:
                watching.cancel()
    emit(context, _host_value(host) | {"jobs": shown.over}, [f"stopped after {len(shown.over)} jobs"])


@command(enclave, example="goldengrain enclave register org2 --as operator@org2.example.com")
@NAME
@challenger_option
@click.option("--again", is_flag=True, help="Renew a registration that still holds.")
async def register(context: click.Context, name: str | None, challenger: str | None, again: bool) -> None:
    """Register an enclave that runs: challenge, quote, collateral, and the contract's nine checks. For its operator."""
    home, name = home_of(context), prepare(context, name)
    host = await attach(home, name)
    async with market_session(context) as opened, host.client() as client:
        transactions = await _registered(context, opened, client, challenger, again=again)
        view = await opened.market.enclaves.get(host.id)
        warnings = await _warnings(opened, client.collateral)
    value = _host_value(host) | {
        "registered": bool(transactions),
        "transactions": transactions,
        "expires": view.expires,
        "status": view.status,
        "simulated": view.simulated,
        "warnings": warnings,
    }
    lines = [
        f"enclave {view.id.hex()} of {view.operator_msp}, TCB status {view.status}, until {moment(view.expires)}",
        "registered" if transactions else "it was registered already",
        *([f"its collateral: {', '.join(warnings)}; see `goldengrain enclave collateral status`"] if warnings else []),
        *([SIMULATED] if view.simulated else []),
    ]
    emit(context, value, lines)


@command(enclave, example="goldengrain enclave trust org2")
@NAME
async def trust(context: click.Context, name: str | None) -> None:
    """Have an enclave believe the trust bundle that the policy in force names, which means new keys.

    Its agent lets it end what it has claimed, starts it again and registers it; one that nobody runs, at its next
    start. Test sets that were sealed before are not sealed to the new keys: while tasks of that time are open, run a
    second enclave under another NAME, or leave them to other operators'.
    """
    home, name = home_of(context), prepare(context, name)
    bundle = await take_over(home)
    trust_again(home, name)
    value = {"enclave": name, "trust_bundle": bundle.digest().hex()}
    members = ", ".join(one.msp_id for one in bundle.organizations)
    emit(context, value, [f"{name} believes {members} from its next start, with new keys"])


async def _warnings(opened: MarketSession, collateral: str) -> list[str]:
    """What there is to say of the collateral that an enclave is judged by."""
    policy = (await opened.market.consortium.policy()).policy
    root, _ = operating.find_root(policy, collateral, opened.now)
    return [str(one) for one in outlook(examine(collateral, root.certificate), opened.now).warnings]


@command(
    enclave,
    name="verify-quote",
    example="goldengrain enclave verify-quote --quote q.bin --collateral c.json --at 2026-11-22T20:00:00Z",
)
@click.option("--quote", required=True, type=FILE, help="The quote, as bytes.")
@click.option("--collateral", required=True, type=FILE, help="Its collateral, JSON as dcap-qvl has it.")
@click.option("--at", "at", metavar="TIME", help="Judge it at this time, RFC 3339.  [default: now]")
@click.option("--root", default=INTEL, show_default=True, metavar="intel|FILE", help="Root certificate, DER or PEM.")
@click.option("--policy", type=FILE, help="JSON: a market's policy, or any of statuses, measurements, tees.")
async def verify_quote(
    context: click.Context, quote: Path, collateral: Path, at: str | None, root: str, policy: Path | None
) -> int:
    """Judge a quote of SGX or TDX offline, as the contract does. Exit code 0 only if it is accepted.

    Without --policy: TCB status UpToDate, no debug, any measurement.
    """
    rules = _policy(policy) if policy else DEFAULT
    moment_at = _time(at) if at else int(time.time())
    trusted: bytes | str = INTEL if root == INTEL else _read(Path(root), "the root certificate")
    evidence = _read(collateral, "the collateral").decode("utf-8", "replace")
    verdict = verify(_read(quote, "the quote"), evidence, at=moment_at, root=trusted, policy=rules)
    emit(context, verdict.to_json(), [table("Quote", ("", ""), _rows(verdict))])
    return 0 if verdict.accepted else 1


def _tell_ready(context: click.Context, host: EnclaveHost, msp_id: str, port: int | None) -> None:
    figures = None if port is None else f"http://{HOST}:{port}/metrics"
    if settings(context).json:
        ready = {"event": "ready", "organization": msp_id, "metrics": figures} | _host_value(host)
        sys.stderr.write(json.dumps(ready) + "\n")
        sys.stderr.flush()
        return
    console(context).print(f"enclave {short(host.id)} works for {msp_id}; Ctrl+C stops it")
    if figures is not None:
        console(context).print(f"figures: {figures}")


async def _registered(
    context: click.Context,
    opened: MarketSession,
    client: EnclaveClient,
    challenger: str | None,
    *,
    again: bool = False,
    evidence: Evidence | None = None,
) -> list[str]:
    """Register the enclave unless it may work already; returns the transactions."""
    identity = await client.identity()
    known = await operating.registration_of(opened.market, identity.enclave)
    policy = (await opened.market.consortium.policy()).policy
    if known is not None and is_fit(known, policy, opened.now) and not again:
        return []
    other = await challenging(opened, challenger)()
    with console(context).status("registering the enclave"):
        given = None if evidence is None else evidence.of
        made = await operating.register(opened.market, other, opened.home, client, given)
    return [one.transaction_id for one in made.committed]


@dataclass
class _Jobs:
    """Shows the jobs of an agent, and stops it after so many, or when there was nothing to do for so long."""

    context: click.Context
    stop: asyncio.Event
    most: int | None
    idle: int | None
    figures: Metrics
    over: list[dict[str, Any]] = field(default_factory=list)
    _since: float = field(default_factory=time.monotonic)

    def note(self, notice: Notice) -> None:
        """Take in what the agent says."""
        self.figures.note(notice)
        show(self.context, notice, sys.stderr)
        if notice.duty is None or notice.duty.command not in ("SubmitReport", "Claim"):
            return
        self._since = time.monotonic()
        if notice.duty.command == "SubmitReport" and notice.kind in (Kind.DONE, Kind.FAILED):
            self.over.append(_job_value(notice))
            if self.most is not None and len(self.over) >= self.most:
                self.stop.set()

    async def watch(self, agent: Agent) -> None:
        """Set ``stop`` when the agent was idle for long enough."""
        while self.idle is not None:
            await asyncio.sleep(_LOOK_S)
            if not agent.idle:
                self._since = time.monotonic()
            if time.monotonic() - self._since >= self.idle:
                self.stop.set()


def _job_value(notice: Notice) -> dict[str, Any]:
    value = notice.to_json()
    return {"offer": value["offer"], "claim": value["number"]} | {
        name: value.get(name) for name in ("state", "transaction", "error")
    }


def _host_value(host: EnclaveHost) -> dict[str, Any]:
    return {"enclave": host.id.hex(), "name": host.name, "attestation": host.identity.attestation}


def _rows(verdict: Verdict) -> list[tuple[str, object]]:
    value = verdict.to_json()
    refusal = f": {verdict.refusal.code}: {verdict.refusal}" if verdict.refusal else ""
    mark = "" if verdict.verified else " (as claimed; nothing is verified)"
    return [
        ("TEE", f"{value['tee'] or 'unknown'}{mark}"),
        ("measurement", value["measurement"]),
        ("report data", value["report_data"]),
        ("debug", value["debug"]),
        ("TCB status", value["tcb_status"]),
        ("advisories", ", ".join(verdict.advisories)),
        ("root", Text("simulated", "bold yellow") if verdict.simulated else "Intel"),
        ("judged at", value["at"]),
        ("policy", verdict.policy),
        ("verdict", f"{value['verdict']}{refusal}"),
    ]


def _read(path: Path, what: str) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE:
            raise FileRefused(f"{what} {path} is larger than {MAX_FILE:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise FileRefused(f"{what} {path} cannot be read: {error.strerror}") from error


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except MalformedInput as error:
        raise CommandLineError(f"--at: {error}") from error


def _policy(path: Path) -> AllOf:
    try:
        document = json.loads(_read(path, "the policy"))
        if isinstance(document, dict) and isinstance(document.get("policy"), dict):
            document = document["policy"]
        return read_rules(document)
    except (ValueError, RecursionError) as error:
        raise FileRefused(f"the policy {path} is no JSON: {error}") from error
    except MalformedInput as error:
        raise FileRefused(f"the policy {path}: {error}") from error
