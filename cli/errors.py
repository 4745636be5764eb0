"""What can be wrong with a command before anything is sent.

GoldenGrainError
└── CommandLineError       COMMAND_LINE          an argument that cannot be used
    ├── FileRefused        FILE_REFUSED          a file that cannot be read or written
    ├── ContextUnknown     CONTEXT_UNKNOWN       no context of that name
    ├── ProcessFailed      PROCESS_FAILED        a program that a command started ended too early
    ├── ExtraMissing       EXTRA_MISSING         an optional part of the installation is needed
    ├── CheckFailed        CHECK_FAILED          what was done does not pass the check afterwards
    ├── DeadlineNear       DEADLINE_NEAR         less than W is left until a deadline, so nothing is sent
    ├── SecretMissing      SECRET_MISSING        the secret that is needed is not in this folder
    ├── StoreUnknown       STORE_UNKNOWN         no content store of that organisation is at hand
    ├── NoEnclave          NO_ENCLAVE            no registered enclave may do the job
    └── NothingDue         NOTHING_DUE           no way out is open yet
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


class DeadlineNear(CommandLineError):
    """Less than W is left until a deadline; peers' clocks may be past it, so a client sends nothing any more."""

    code = "DEADLINE_NEAR"


class SecretMissing(CommandLineError):
    """What is needed was sealed, or is kept, in another folder."""

    code = "SECRET_MISSING"


class DatasetHidden(CommandLineError):
    """A test set that only its provider can read, until it is open."""

    code = "DATASET_HIDDEN"


class StoreUnknown(CommandLineError):
    """The content store of an organisation is not at hand."""

    code = "STORE_UNKNOWN"


class NoEnclave(CommandLineError):
    """No registered enclave may do the job."""

    code = "NO_ENCLAVE"


class NothingDue(CommandLineError):
    """No way out of the protocol's tables is open at this time."""

    code = "NOTHING_DUE"
