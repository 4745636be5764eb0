"""The ``goldengrain`` command."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

import click

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.cli.command import LazyGroup
from goldengrain.cli.output import print_error
from goldengrain.cli.settings import Settings

COMMANDS = (
    "demo",
    "network",
    "channel",
    "org",
    "peer",
    "orderer",
    "identity",
    "snapshot",
    "chaincode",
    "policy",
    "context",
    "wallet",
    "credits",
    "dataset",
    "task",
    "model",
    "offer",
    "store",
    "enclave",
    "agent",
    "tx",
    "events",
    "completion",
)


@click.group(
    cls=LazyGroup,
    modules={name: f"goldengrain.cli.{name}" for name in COMMANDS},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="goldengrain")
def goldengrain() -> None:
    """A market for trained models on Hyperledger Fabric.

    Start with `goldengrain demo`, or with `goldengrain network up --market`.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line once and exit: the one place where errors become messages and exit codes.

    Exit codes: 0 done; 1 a named error; 2 the command line was wrong; 3 the outcome of a transaction is unknown;
    4 the market's rules refused; 130 interrupted.
    """
    settings = Settings()
    try:
        code = goldengrain.main(args=arguments, obj=settings, standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        print_error(settings, "INTERRUPTED", "stopped before the end")
        sys.exit(130)
    except click.UsageError as error:
        # What is wrong may stand before --json, which then was never read.
        settings.json = settings.json or "--json" in (sys.argv[1:] if arguments is None else arguments)
        if settings.json:
            print_error(settings, "USAGE", error.format_message())
        else:
            error.show()
        sys.exit(2)
    except click.ClickException as error:
        print_error(settings, "USAGE", error.format_message())
        sys.exit(error.exit_code)
    except GoldenGrainError as error:
        if settings.traceback:
            traceback.print_exc()
        print_error(settings, error.code, str(error))
        sys.exit(exit_code(error))


def exit_code(error: GoldenGrainError) -> int:
    """The exit code for an error that a command ended with."""
    from goldengrain.chaincode.protocol.errors import ContractError
    from goldengrain.gateway.errors import CommitStatusError

    if isinstance(error, ContractError):
        return 4
    return 3 if isinstance(error, CommitStatusError) else 1


if __name__ == "__main__":
    main()
