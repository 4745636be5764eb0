"""Gas as Ethereum charges it, transaction by transaction.

The EVM in this process never ends a transaction: what one has touched stays warm for the next, and a slot's "original"
value is that of the beginning. So a metered chain runs each transaction once more beforehand, on an EVM that begins
with it and reads the state from a node (`node`): there every account and slot is cold, and is what it was. Calldata
costs at least the floor of EIP-7623, and at most a fifth is given back (EIP-3529).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pyrevm import EVM, BlockEnv

from tests.parity.chain import FORK, GAS_LIMIT, UNIT, Chain, Deployed, Receipt

INTRINSIC, FLOOR, LOG_BYTE = 21_000, 10, 8
"""Gas of any transaction, the least for a token of calldata (a zero byte is one, any other four), and of a logged
byte."""
_ACCOUNT = re.compile(
    r"(0x[0-9a-f]{40}): Account \{ info: AccountInfo \{ balance: (\d+), nonce: (\d+), code_hash: \w+, "
    r"code: Some\(Bytecode \{ bytecode: (0x[0-9a-f]*), state: .*?storage: \{(.*?)\}, status:"
)
_SLOT = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+)")


@dataclass(frozen=True)
class Spent:
    """What a transaction costs, in gas, and how many bytes it brought and logged."""

    function: str
    gas: int
    calldata: int
    logged: int

    @property
    def logged_gas(self) -> int:
        """The part of the gas that is for logged bytes alone."""
        return LOG_BYTE * self.logged


class MeteredChain(Chain):
    """A chain that notes what each accepted transaction costs while `metered` is set. A context: it runs a node."""

    def __init__(self, at: int = 0) -> None:
        super().__init__(at)
        self.metered = False
        self.spent: list[Spent] = []
        root = Path(__file__).parents[2]
        self._node = subprocess.Popen(
            [sys.executable, "-m", "tests.parity.node"], stdout=subprocess.PIPE, text=True, cwd=root
        )
        assert self._node.stdout is not None
        self._url = f"http://127.0.0.1:{self._node.stdout.readline().strip()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.terminate()
        self._node.communicate()

    def at(self, moment: int) -> None:
        super().at(moment)
        self._block = BlockEnv(timestamp=moment, number=self.number, gas_limit=GAS_LIMIT)

    def send(self, sender: str, to: Deployed, calldata: bytes, value: int) -> Receipt:
        if not self.metered:
            return super().send(sender, to, calldata, value)
        self._tell_node()
        fresh = EVM(fork_url=self._url, gas_limit=GAS_LIMIT, spec_id=FORK)
        fresh.set_block_env(self._block)
        receipt = super().send(sender, to, calldata, value)
        fresh.message_call(sender, to.address, calldata, value=value * UNIT)
        result = fresh.result
        assert result is not None
        whole = result.gas_used + result.gas_refunded
        gas = max(whole - min(result.gas_refunded, whole // 5), _floor(calldata))
        names = {function.selector: name for name, function in to.artifact.functions.items()}
        logged = sum(len(event.data) for event in receipt.events)
        self.spent.append(Spent(names[calldata[:4]], gas, len(calldata), logged))
        return receipt

    def _tell_node(self) -> None:
        request = {"jsonrpc": "2.0", "id": 1, "method": "state_set", "params": [state(self.evm)]}
        post = urllib.request.Request(
            self._url, json.dumps(request).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        with urllib.request.urlopen(post) as response:
            response.read()


def state(evm: EVM) -> dict[str, Any]:
    """Return all accounts of an EVM, as `node` takes them."""
    found = {}
    for address, balance, nonce, code, storage in _ACCOUNT.findall(evm.journal_str):
        whole = code[: len(evm.get_code(address) or b"") * 2 + 2]  # what follows is padding
        found[address] = {"balance": balance, "nonce": nonce, "code": whole, "storage": dict(_SLOT.findall(storage))}
    return found


def _floor(calldata: bytes) -> int:
    zeros = calldata.count(0)
    return INTRINSIC + FLOOR * (zeros + 4 * (len(calldata) - zeros))
