"""Quotes of a TDX guest through the kernel's configfs-tsm (Linux 6.7; `Documentation/ABI/testing/configfs-tsm`).

A folder made under `/sys/kernel/config/tsm/report` is a request of its own: 64 bytes written to `inblob`, the quote
read from `outblob`; `provider` tells which TEE answers, `generation` counts the writes. The folder is removed then.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from goldengrain.enclave.errors import QuotingUnavailable

REPORTS = Path("/sys/kernel/config/tsm/report")
_PROVIDER = "tdx_guest"
_MAX_QUOTE = 16_384


class TdxGuest:
    """The kernel's reports, in `folder`; raises `QuotingUnavailable` where it has none of TDX."""

    def __init__(self, folder: Path = REPORTS) -> None:
        self._folder = folder

    def quote(self, report_data: bytes) -> bytes:
        """Return a quote that binds 64 bytes; raises `QuotingUnavailable`."""
        try:
            with self._request() as request:
                return _ask(request, report_data)
        except OSError as error:
            raise QuotingUnavailable(
                f"the kernel gives no quote in {self._folder} ({error.strerror}): is this a TDX guest with Linux 6.7 "
                "or newer, configfs mounted, and a quote generation service on its host?"
            ) from error

    @contextmanager
    def _request(self) -> Iterator[Path]:
        """Make a request's folder, which the kernel fills; nobody else writes to it."""
        request = self._folder / f"goldengrain-{os.getpid()}-{secrets.token_hex(8)}"
        request.mkdir()
        try:
            yield request
        finally:
            request.rmdir()


def _ask(request: Path, report_data: bytes) -> bytes:
    provider = (request / "provider").read_text().strip()
    if provider != _PROVIDER:
        raise QuotingUnavailable(f"the kernel's reports are of {provider[:80]!r}, not of {_PROVIDER!r}")
    before = _generation(request)
    (request / "inblob").write_bytes(report_data)
    with (request / "outblob").open("rb") as file:
        quote = file.read(_MAX_QUOTE)
    if _generation(request) != before + 1:
        raise QuotingUnavailable("somebody else wrote to this request for a quote; ask again")
    return quote


def _generation(request: Path) -> int:
    text = (request / "generation").read_text().strip()
    if not text.isdecimal():
        raise QuotingUnavailable(f"the kernel's generation is {text[:80]!r}, not a number")
    return int(text)
