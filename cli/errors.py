"""What can be wrong with a command before anything is sent.

GoldenGrainError
└── CommandLineError       COMMAND_LINE          an argument that cannot be used
    ├── FileRefused        FILE_REFUSED          a file that cannot be read or written
    ├── ContextUnknown     CONTEXT_UNKNOWN       no context of that name
    ├── ProcessFailed      PROCESS_FAILED        a program that a command started ended too early
    ├── ExtraMissing       EXTRA_MISSING         an optional part of the installation is needed
    └── CheckFailed        CHECK_FAILED          what was done does not pass the check afterwards
"""

from __future__ import annotations

from goldengrain.chaincode.protocol.errors import GoldenGrainError


class CommandLineError(GoldenGrainError):
    """An argument that cannot be used."""

    code = "COMMAND_LINE"


class FileRefused(CommandLineError):
    """A file that cannot be read or written."""

    code = "FILE_REFUSED"


class ContextUnknown(CommandLineError):
    """There is no context of that name."""

    code = "CONTEXT_UNKNOWN"


class ProcessFailed(CommandLineError):
    """A program that a command started ended before it was ready."""

    code = "PROCESS_FAILED"


class ExtraMissing(CommandLineError):
    """An optional part of the installation is needed."""

    code = "EXTRA_MISSING"


class CheckFailed(CommandLineError):
    """What was done does not pass the check that a command makes at its end."""

    code = "CHECK_FAILED"
