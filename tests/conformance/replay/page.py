"""`docs/conformance.md`, made from a run of all recordings.

python -m tests.conformance.replay.page        # write it anew
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from tests.chaincode.shim.conftest import Network
from tests.chaincode.shim.test_replay import Outcome, replay_all
from tests.conformance.replay.known import Known, known, left_out, of_shim
from tests.conformance.replay.running import run
from tests.conformance.replay.timeline import timeline
from tests.recordings.archive import parsed
from tests.recordings.blocks import blocks, codes

PAGE = Path(__file__).resolve().parents[3] / "docs" / "conformance.md"
SAME = "as recorded"
PARTS = {
    "lifecycle": "Peers' system chaincodes: `_lifecycle`, `cscc`, `qscc`",
    "chaincode": "Chaincodes: what peers answer them, what clients get",
    "gateway": "Gateway, Endorser, Deliver, Discovery, and the orderer's Broadcast and Deliver",
}
INTRODUCTION = """\
# Conformance

A network of real Fabric 3.1.5 peers and an orderer was recorded: every request, answer, block, and message between
peers and chaincodes. The recordings are in `tests/data/fabric`. `make check` plays them: the recorded requests, with
their signatures, to the embedded network, which has the recorded keys and genesis block and stands at the recorded
block and time; the recorded peers' messages to the chaincode shim. Answers are compared byte for byte but for what
`tests/conformance/replay/masks.py` lists: ports, ids of open queries, the choice of a further organisation, the order
of Go's maps. Signatures are verified instead.

This page is what that run writes (`python -m tests.conformance.replay.page`); a test compares it with the run.
Differences are listed with their reasons in `tests/conformance/replay/differences.yaml`.

## On Fabric's own programs

The same contracts are held against real peers and orderers wherever `FABRIC_BIN` names them, by
`tests/conformance/test_real_fabric.py`: client, lifecycle, shim, and every block by an independent checker. Which of
them apply follows from the programs' release; what does not is skipped with the reason.

| network | Fabric 3.1 | Fabric 2.5 |
| --- | --- | --- |
| three Raft orderers | passed | passed, in a channel with the capability V2_0 |
| four SmartBFT orderers | passed | refused by name: it needs Fabric 3 |
| CouchDB for each peer's state | passed with CouchDB 3.4 | passed with CouchDB 3.4 |

CouchDB runs where `COUCHDB_BIN` names the folder with its program, one server for each peer: rich queries, whole, in
pages and of private data, and `tests/network/test_couchdb.py` with a swap and a chaincode's indexes. Peers of 2.5 have
neither batches of reads (GET_STATE_MULTIPLE) nor of writes; the shim then asks key by key. The remaining tests marked
`fabric` (growth, consortia, kills, the demonstration) ran with both releases, too.
"""


def page(network: Mapping[str, list[str]], shim: list[Outcome]) -> str:
    """The page of these results."""
    parts = (_summary(network, shim), _network(network), _blocks(), _shim(shim), _administration())
    return "\n".join([INTRODUCTION, *(line for part in parts for line in part)]).rstrip() + "\n"


def _summary(network: Mapping[str, list[str]], shim: list[Outcome]) -> Iterator[str]:
    same = sum(1 for entry in timeline() if entry.name not in known())
    yield "| | recorded | as recorded | for a named reason otherwise |"
    yield "| --- | ---: | ---: | ---: |"
    yield f"| cases on the embedded network | {len(timeline())} | {same} | {len(timeline()) - same} |"
    excused = len([one for one in shim if one.excuses])
    yield f"| chaincode transactions on the shim | {len(shim)} | {len(shim) - excused} | {excused} |"
    yield f"| blocks, validated anew | {len(blocks())} | {len(blocks())} | 0 |"
    yield ""
    assert network.keys() | left_out() == {entry.name for entry in timeline()}


def _network(found: Mapping[str, list[str]]) -> Iterator[str]:
    for part, title in PARTS.items():
        yield f"## {title}\n"
        yield "| case | what was recorded | embedded network |"
        yield "| --- | --- | --- |"
        for entry in timeline():
            if entry.name.startswith(f"{part}/"):
                name = entry.name.partition("/")[2]
                outcome = _outcome(known().get(entry.name), found.get(entry.name, []))
                yield f"| `{name}` | {_cell(entry.what)} | {outcome} |"
        yield ""


def _outcome(difference: Known | None, found: list[str]) -> str:
    if difference is None:
        return f"differs: {_cell(found[0])}" if found else SAME
    prefix = "" if difference.played else "not played. "
    return f"{prefix}{_cell(difference.reason)}{' Sometimes as recorded.' if difference.sometimes else ''}"


def _blocks() -> Iterator[str]:
    met: dict[str, int] = defaultdict(int)
    for block in codes():
        for _, _, code in block:
            met[code] += 1
    yield "## Blocks\n"
    yield f"The {len(blocks())} recorded blocks are validated anew, to the same bytes: codes and commit hashes.\n"
    yield "| validation code | transactions |"
    yield "| --- | ---: |"
    yield from (f"| {code} | {count} |" for code, count in sorted(met.items()))
    yield ""


def _shim(outcomes: list[Outcome]) -> Iterator[str]:
    operations, cases = of_shim()
    grouped: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        grouped[one.case].append(one)
    yield "## Chaincode shim\n"
    yield "What the recorded peers said, said to our shim, which runs the recorded chaincode's scripts.\n"
    yield "| case | transactions | shim |"
    yield "| --- | ---: | --- |"
    for case, group in sorted(grouped.items()):
        reasons = {(operations | cases)[excuse] for one in group for excuse in one.excuses}
        excused = len([one for one in group if one.excuses])
        text = SAME if not excused else f"{excused} not: {'; '.join(sorted(reasons))}"
        yield f"| `{case}` | {len(group)} | {_cell(text)} |"
    yield ""


def _administration() -> Iterator[str]:
    yield "## Channel participation\n"
    yield "Not played: the embedded orderer has no administration port. Its channel is there from the start.\n"
    yield "| case | what was recorded |"
    yield "| --- | --- |"
    for exchange in parsed("lifecycle", "osnadmin.json"):
        yield f"| `{exchange['name']}` | {_cell(exchange['what'])} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").rstrip()


async def results(folder: Path) -> tuple[dict[str, list[str]], list[Outcome]]:
    """Play everything."""
    async with AsyncExitStack() as stack:
        return await run(folder, left_out()), await replay_all(Network(stack))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        PAGE.write_text(page(*asyncio.run(results(Path(temporary)))))
