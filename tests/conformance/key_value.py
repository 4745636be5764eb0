"""What has to hold for the example chaincode on our shim, called through our client, on any network.

Mixed into a test class per network, whose module has a fixture `deployed`.
"""

import asyncio
import json
import signal

import pytest

from goldengrain.gateway.errors import CommitError, EndorseError, EvaluateError
from tests.conformance.deployed import Deployed, patiently


class KeyValueContract:
    async def test_what_one_organisation_writes_every_other_reads(self, deployed: Deployed) -> None:
        for organization in range(3):
            async with deployed.contract(organization) as contract:
                result = await contract.submit("put", f"from{organization}", f"value {organization}")
                assert result.code == "VALID"
        for organization in range(3):
            async with deployed.contract(organization) as contract:
                for written in range(3):
                    found = await patiently(lambda: contract.evaluate("get", f"from{written}"))  # noqa: B023
                    assert found == f"value {written}".encode()

    async def test_an_evaluation_writes_nothing(self, deployed: Deployed) -> None:
        async with deployed.contract() as contract:
            await contract.evaluate("put", "evaluated", "1")
            with pytest.raises(EvaluateError) as refusal:
                await contract.evaluate("get", "evaluated")
        assert refusal.value.chaincode_response == (404, "no key 'evaluated'")

    async def test_a_range_is_read_in_the_order_of_its_keys(self, deployed: Deployed) -> None:
        async with deployed.contract() as contract:
            for key in ("list/b", "list/a", "list/c"):
                await contract.submit("put", key, key)
            await contract.submit("delete", "list/b")
            found = json.loads(await contract.evaluate("range", "list/", "list0"))
        assert found == [["list/a", "list/a"], ["list/c", "list/c"]]

    async def test_the_event_of_a_committed_transaction_arrives(self, deployed: Deployed) -> None:
        async with (
            deployed.network() as network,
            network.chaincode_events(deployed.name, await network.height()) as events,
        ):
            result = await network.contract(deployed.name).submit("event", "made", "it")
            event = await asyncio.wait_for(anext(events), 30)
        assert (event.name, event.payload, event.chaincode) == ("made", b"it", deployed.name)
        assert (event.transaction_id, event.block) == (result.transaction_id, result.block)

    async def test_a_refusal_reaches_the_client_with_its_status(self, deployed: Deployed) -> None:
        async with deployed.contract() as contract:
            with pytest.raises(EndorseError) as endorsed:
                await contract.submit("fail", "no more")
            with pytest.raises(EvaluateError) as evaluated:
                await contract.evaluate("fail", "no more")
            with pytest.raises(EvaluateError):
                await contract.evaluate("get", "never")
        assert endorsed.value.chaincode_response == evaluated.value.chaincode_response == (422, "no more")

    async def test_a_crash_of_the_chaincode_names_its_class_and_nothing_else(self, deployed: Deployed) -> None:
        async with deployed.contract() as contract:
            with pytest.raises(EndorseError) as crash:
                await contract.submit("crash")
        response = crash.value.chaincode_response
        assert response is not None
        assert response[0] == 500
        assert response[1].startswith("unhandled RuntimeError in the chaincode")
        assert "secret" not in response[1]
        log = deployed.program.log.read_text()
        assert str(crash.value.transaction_id) in log
        assert f"secret of {crash.value.transaction_id}" not in log

    async def test_the_chaincode_sees_who_calls(self, deployed: Deployed) -> None:
        for organization, member in enumerate(deployed.home.load_topology().organizations):
            async with deployed.contract(organization) as contract:
                sender = json.loads(await contract.evaluate("whoami"))
            assert sender == {"msp_id": member.msp_id, "common_name": f"User1@{member.domain}"}

    async def test_64_submits_at_once_all_commit(self, deployed: Deployed) -> None:
        async with deployed.contract() as contract:
            results = await asyncio.gather(*(contract.submit("put", f"many{i:02}", f"v{i}") for i in range(64)))
            assert {result.code for result in results} == {"VALID"}
            found = json.loads(await contract.evaluate("range", "many", "manz"))
        assert found == [[f"many{i:02}", f"v{i}"] for i in range(64)]

    async def test_of_many_that_race_for_one_key_the_sum_is_right(self, deployed: Deployed) -> None:
        async with deployed.contract() as contract:
            await contract.submit("put", "sum", "0")
            outcomes = await asyncio.gather(
                *(contract.submit("add", "sum", "1") for _ in range(10)), return_exceptions=True
            )
            total = int(await contract.evaluate("get", "sum"))
        lost = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(outcome, CommitError) and outcome.is_read_conflict for outcome in lost), lost
        assert total == 10 - len(lost) > 0

    async def test_a_chaincode_server_that_was_killed_is_found_again(self, deployed: Deployed) -> None:
        async with deployed.contract() as contract:
            await contract.submit("put", "before", "1")
            await deployed.program.stop(signal.SIGKILL)
            with pytest.raises(EndorseError):
                await contract.submit("put", "while", "1")
            await deployed.program.start(deployed.package_id)
            result = await patiently(lambda: contract.submit("put", "after", "1"))
            assert result.code == "VALID"
            assert await contract.evaluate("get", "before") == b"1"
            with pytest.raises(EvaluateError):
                await contract.evaluate("get", "while")

    async def test_a_chaincode_server_that_is_stopped_under_load_answers_what_it_has_begun(
        self, deployed: Deployed
    ) -> None:
        async with deployed.contract() as contract:
            load = [asyncio.create_task(contract.submit("put", f"load{i:03}", "1")) for i in range(64)]
            await asyncio.sleep(0.05)
            assert await deployed.program.stop() == 0
            outcomes = await asyncio.gather(*load, return_exceptions=True)
            await deployed.program.start(deployed.package_id)
            found = json.loads(await patiently(lambda: contract.evaluate("range", "load", "loae")))
        committed = [f"load{i:03}" for i, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert all(isinstance(outcome, EndorseError) for outcome in failed), failed
        assert [key for key, _ in found] == committed
