"""What has to hold for a contract with typed arguments, behind a clock window, on any network (see `accounts.py`)."""

import asyncio
import json
import time

import pytest

from goldengrain.gateway.errors import EndorseError, EvaluateError
from tests.conformance.deployed import Deployed, patiently

MEMBERS = ("Org1MSP", "Org2MSP")


class Late:
    """A clock two minutes behind: within what peers accept, outside the contract's window."""

    def now_ns(self) -> int:
        return time.time_ns() - 120 * 1_000_000_000


class AccountsContract:
    async def test_typed_functions_submit_and_evaluate(self, accounts: Deployed) -> None:
        async with accounts.contract() as contract:
            opened = await contract.submit("open", "alice", "10", "savings", '["first"]')
            assert json.loads(opened.payload) == {
                "owner": "Org1MSP",
                "balance": 10,
                "kind": "savings",
                "tags": ["first"],
            }
            await contract.submit("Accounts:open", "bob")
            await contract.submit("pay", "alice", "bob", "4")
            assert json.loads(await contract.evaluate("read", "bob"))["balance"] == 4
            listed = json.loads(await contract.evaluate("List"))
        assert listed["alice"]["balance"] == 6

    async def test_refusals_name_their_code_and_arguments_their_fault(self, accounts: Deployed) -> None:
        async with accounts.contract() as contract:
            with pytest.raises(EndorseError) as overdrawn:
                await contract.submit("open", "wrong", "-1")
            with pytest.raises(EvaluateError) as missing:
                await contract.evaluate("read", "nobody")
            with pytest.raises(EndorseError) as cheating:
                await contract.submit("cheat")
        assert overdrawn.value.chaincode_response == (
            400,
            "INVALID_ARGUMENT: open: argument balance: Expected `int` >= 0",
        )
        assert missing.value.chaincode_response == (404, "NO_ACCOUNT: there is no account nobody")
        assert cheating.value.chaincode_response is not None
        assert "is a query and must not write" in cheating.value.chaincode_response[1]

    async def test_a_client_whose_clock_is_off_is_refused_before_anything_runs(self, accounts: Deployed) -> None:
        async with accounts.contract(clock=Late()) as contract:
            with pytest.raises(EndorseError) as refused:
                await contract.submit("open", "late")
        response = refused.value.chaincode_response
        assert response is not None
        assert response[1].startswith("TIMESTAMP_REFUSED: the transaction's time is 1")

    async def test_transient_fields_reach_the_collection_and_no_transaction(self, accounts: Deployed) -> None:
        async with accounts.network() as network:
            contract = network.contract(accounts.name)
            result = await contract.submit(
                "seal", "colA", "offer", transient={"price": b"4711004711"}, endorsing_organizations=MEMBERS
            )
            block = await network.fetch_block(result.block)
        assert b"offer" in block.SerializeToString()
        assert b"4711004711" not in block.SerializeToString()
        assert "4711004711" not in accounts.program.log.read_text()

    async def test_the_chaincode_describes_itself(self, accounts: Deployed) -> None:
        async with accounts.contract() as contract:
            found = json.loads(await contract.evaluate("org.hyperledger.fabric:GetMetadata"))
        assert list(found["contracts"]) == ["Accounts", "kinds"]
        assert found["info"]["title"] == "Bank"
        (read,) = [one for one in found["contracts"]["Accounts"]["transactions"] if one["name"] == "read"]
        assert read["returns"] == {"$ref": "#/components/schemas/Account"}

    async def test_payments_at_once_neither_make_nor_lose_money(self, accounts: Deployed) -> None:
        async with accounts.contract() as contract:
            names = [f"many{number:02}" for number in range(32)]
            await asyncio.gather(*(contract.submit("open", name, "100") for name in names))
            pairs = list(zip(names[::2], names[1::2], strict=True))

            async def pay(payer: str, payee: str) -> None:  # a peer that endorses may be a block behind
                await patiently(lambda: contract.submit("pay", payer, payee, "30"), failure=EndorseError)

            await asyncio.gather(*(pay(payer, payee) for payer, payee in pairs))
            listed = json.loads(await contract.evaluate("List"))
        assert [listed[name]["balance"] for name in names] == [70, 130] * 16
