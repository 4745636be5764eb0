"""How tests are shared out among processes."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

ALONE = "tests/promises/test_mutants.py::test_exactly_its_promise_fails"
"""This one's cases set up nothing that a process could keep for the next; each takes half a minute."""


class Sharing(LoadFileScheduling):
    """As `--dist loadfile`, a file's tests are run by one process; but `ALONE`'s cases by whichever is free.

    Files with many tests begin first, single tests are the last: there these fill up what the long ones have left.
    """

    def _split_scope(self, nodeid: str) -> str:
        """Return what is shared out as one piece: a file, or a case."""
        return nodeid if nodeid.startswith(ALONE) else super()._split_scope(nodeid)
