"""Root of the tree, and refusals of what doesn't parse."""

from __future__ import annotations

from typing import ClassVar


class GoldenGrainError(Exception):
    """Root of everything that this project raises on purpose."""

    code: ClassVar[str] = "GOLDEN_GRAIN"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class ContractError(GoldenGrainError):
    """The rules of the market refuse; nothing is written."""

    code = "REFUSED"
    status: ClassVar[int] = 400

    @property
    def response_message(self) -> str:
        """The chaincode response's message: `CODE: text`."""
        return f"{self.code}: {self.message}"


class MalformedInput(ContractError):
    """Doesn't parse, or has the wrong type, size or range."""

    code = "MALFORMED_INPUT"
    status = 400


class UnknownCommand(MalformedInput):
    """The contract has no function of this name."""

    code = "UNKNOWN_COMMAND"


class ClockError(GoldenGrainError):
    """The clock file can't be read or written."""

    code = "CLOCK"


class KeyMalformed(MalformedInput):
    """Not a key of this kind."""

    code = "KEY_MALFORMED"
