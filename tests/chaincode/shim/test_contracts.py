import json
import logging
from typing import Any

import pytest
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from goldengrain.chaincode.shim import (
    ChaincodeStub,
    DeclarationError,
    InvalidArgument,
    contract,
    contracts,
    from_json,
    query,
    to_json,
    transaction,
)
from tests.chaincode.shim.accounts import Account, Accounts, Kinds, Statement, Watched
from tests.chaincode.shim.conftest import Network
from tests.chaincode.shim.identities import creator_of
from tests.chaincode.shim.ledger import Ledger
from tests.chaincode.shim.peer import FakePeer, Outcome, new_tx_id, signed_proposal


@pytest.fixture
async def peer(network: Network) -> FakePeer:
    return await network.peer(await network.serve(contracts(Accounts(), Kinds())))


def answer(outcome: Outcome) -> tuple[int, str, bytes]:
    response = outcome.response
    return response.status, response.message, response.payload


async def test_a_function_is_called_with_values_of_its_types_and_answers_json(peer: FakePeer) -> None:
    outcome = await peer.call("open", "alice", "5", "savings", '["a","b"]')
    stored = b'{"balance":5,"kind":"savings","owner":"Org1MSP","tags":["a","b"]}'
    assert answer(outcome) == (200, "", stored)
    assert outcome.transaction.writes == [("put", "", "alice", stored)]
    assert outcome.event is not None
    outcome.transaction.commit()
    assert answer(await peer.call("Accounts:read", "alice")) == (200, "", stored)
    assert json.loads((await peer.call("List")).response.payload)["alice"]["balance"] == 5


async def test_arguments_with_a_default_may_be_left_out(peer: FakePeer) -> None:
    assert json.loads((await peer.call("open", "bob")).response.payload)["balance"] == 0
    assert (await peer.call("kinds:texts", "1")).response.payload == b"1|two"


@pytest.mark.parametrize(
    ("call", "payload"),
    [
        (("texts", "ä", '"quoted"'), 'ä|"quoted"'.encode()),
        (("raw", b"\xff\x00"), b"\x00\xff"),
        (("number", "-8"), b"-7"),
        (("number", str(10**30)), str(10**30 + 1).encode()),
        (("fraction", "5"), b"2.5"),
        (("truth", "true"), b"false"),
        (("kind", "savings"), b"savings"),
        (("choice", "a"), b"a"),
        (("when", "2026-03-29T01:30:00+02:00"), b"2026-03-29T02:30:00+02:00"),
        (("exact", "0.1"), b"0.2"),
        (("maybe",), b"[null,null]"),
        (("maybe", "", "7"), b'["",7]'),
        (("maybe", "null", "null"), b'["null",null]'),
        (("pairs", '{"z":[1,"a"],"b":[2,"c"]}'), b'["z1a","b2c"]'),
        (
            ("nested", '{"account":{"owner":"a","balance":1},"history":[{"owner":"b","balance":2,"tags":["t"]}]}'),
            to_json(Statement(Account("b", 2, tags=["t"]), [Account("a", 1)])),
        ),
        (("nothing",), b""),
        (("status", "201"), b"payload"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_each_type_has_its_form_on_the_wire(peer: FakePeer, call: tuple[Any, ...], payload: bytes) -> None:
    assert answer(await peer.call(f"kinds:{call[0]}", *call[1:]))[2] == payload


@pytest.mark.parametrize(
    ("call", "status", "text"),
    [
        (("kinds:number", "x"), 400, "INVALID_ARGUMENT: number: argument number: JSON is malformed"),
        (("kinds:number", '"7"'), 400, "INVALID_ARGUMENT: number: argument number: Expected `int`, got `str`"),
        (("kinds:number", "7.5"), 400, "INVALID_ARGUMENT: number: argument number: Expected `int`, got `float`"),
        (("kinds:truth", "True"), 400, "INVALID_ARGUMENT: truth: argument is_so: JSON is malformed"),
        (("kinds:kind", "red"), 400, "INVALID_ARGUMENT: kind: argument kind: Invalid enum value 'red'"),
        (("kinds:texts", b"\xff"), 400, "INVALID_ARGUMENT: texts: argument one: not UTF-8 text"),
        (("kinds:pairs", '{"a":[1]}'), 400, "INVALID_ARGUMENT: pairs: argument pairs: Expected `array` of length 2"),
        (("open", "x", "-1"), 400, "INVALID_ARGUMENT: open: argument balance: Expected `int` >= 0"),
        (("open",), 400, "INVALID_ARGUMENT: open: takes 1 to 4 argument(s) (name, balance, kind, tags), not 0"),
        (("pay", "a", "b", "1", "2"), 400, "INVALID_ARGUMENT: pay: takes 3 argument(s) (payer, payee, amount), not 4"),
        (("nosuch",), 404, "UNKNOWN_FUNCTION: no function 'nosuch' in Accounts: open, read, List, pay, seal, cheat"),
        (("all_accounts",), 404, "UNKNOWN_FUNCTION: no function 'all_accounts' in Accounts"),
        (("nosuch:read", "a"), 404, "UNKNOWN_FUNCTION: no contract nosuch: one of Accounts, kinds"),
        (("read", "none"), 404, "NO_ACCOUNT: there is no account none"),
        (("cheat",), 400, "INVALID_ARGUMENT: cheat is a query and must not write"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
async def test_a_wrong_call_is_told_what_is_wrong(
    peer: FakePeer, call: tuple[Any, ...], status: int, text: str
) -> None:
    outcome = await peer.call(*call)
    assert outcome.response.status == status
    assert outcome.response.message.startswith(text)
    assert outcome.transaction.writes == []


async def test_parameters_behind_the_star_come_from_transient_data(peer: FakePeer) -> None:
    outcome = await seal(peer, {"price": b"7", "other": b"x"})
    assert outcome.transaction.writes == [("put", "colA", "offer", b'{"note":"none","price":7}')]
    outcome = await seal(peer, {"price": b"7", "note": b"n"})
    assert outcome.transaction.writes == [("put", "colA", "offer", b'{"note":"n","price":7}')]


async def test_no_text_and_no_log_repeats_transient_data(peer: FakePeer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        wrong = await seal(peer, {"price": b"s3cret"})
        missing = await seal(peer, {"note": b"s3cret"})
    assert wrong.response.message == "INVALID_ARGUMENT: seal: the transient field price is not of its type"
    assert missing.response.message == "INVALID_ARGUMENT: seal: the transient field price is missing"
    assert "s3cret" not in caplog.text


async def test_initialisation_is_a_call_like_any_other(peer: FakePeer) -> None:
    assert (await peer.call("open", "carol", kind=ChaincodeMessage.INIT)).response.status == 200


async def test_hooks_run_around_every_function_of_their_contract(network: Network) -> None:
    watched = Watched()
    peer = await network.peer(await network.serve(contracts(watched, Kinds())))
    assert (await peer.call("known")).response.payload == b"known"
    assert (await peer.call("else")).response.payload == b"unknown else"
    assert answer(await peer.call("Watched:secret")) == (403, "REFUSED: nobody may", b"")
    await peer.call("kinds:nothing")
    assert watched.seen == [
        ("before", "known"),
        ("after", "known"),
        ("before", "else"),
        ("after", "unknown else"),
        ("before", "Watched:secret"),
    ]


async def test_methods_of_a_base_class_are_functions_too(network: Network) -> None:
    class Common:
        @query
        async def version(self, stub: ChaincodeStub) -> str:
            return "1"

    @contract
    class Derived(Common):
        @query
        async def own(self, stub: ChaincodeStub) -> str:
            return "own"

    peer = await network.peer(await network.serve(contracts(Derived())))
    assert (await peer.call("version")).response.payload == b"1"
    assert (await peer.call("own")).response.payload == b"own"


def declared(method: Any) -> Any:
    return contract(type("Declared", (), {"f": method}))()


async def _no_annotation(self: Any, stub: ChaincodeStub, x) -> None: ...  # type: ignore[no-untyped-def]
async def _no_stub(self: Any) -> None: ...
async def _many(self: Any, stub: ChaincodeStub, *x: int) -> None: ...
async def _odd(self: Any, stub: ChaincodeStub, x: "type[int]") -> None: ...
async def _odd_result(self: Any, stub: ChaincodeStub) -> "ChaincodeStub": ...  # type: ignore[empty-body]
async def _unknown(self: Any, stub: ChaincodeStub, x: "NoSuchType") -> None: ...  # type: ignore[name-defined]  # noqa: F821
def _sync(self: Any, stub: ChaincodeStub) -> None: ...


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (_no_annotation, "Declared.f: parameter x needs a type annotation"),
        (_no_stub, "Declared.f has to take the stub first"),
        (_many, "Declared.f: *x can't be described"),
        (_odd, "Declared.f: parameter x: "),
        (_odd_result, "f: its result: "),
        (_unknown, "Declared.f: name 'NoSuchType' is not defined"),
        (_sync, "Declared.f has to be `async def`"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_method_that_cannot_be_served_is_refused_when_the_chaincode_is_put_together(method: Any, text: str) -> None:
    with pytest.raises(DeclarationError) as refused:
        contracts(declared(transaction(method)))
    assert str(refused.value).startswith(text)


def test_contracts_and_functions_of_one_name_are_refused() -> None:
    @contract
    class Twice:
        @query
        async def one(self, stub: ChaincodeStub) -> None: ...

        @query(name="one")
        async def two(self, stub: ChaincodeStub) -> None: ...

    for wrong in ((Twice(),), (Accounts(), Accounts()), (Accounts,), (object(),)):
        with pytest.raises(DeclarationError):
            contracts(*wrong)


def test_json_is_the_same_for_equal_values() -> None:
    assert to_json({"b": 1, "a": {"z", "y"}}) == to_json({"a": {"y", "z"}, "b": 1}) == b'{"a":["y","z"],"b":1}'
    assert from_json(b'{"owner":"o","balance":1}', Account) == Account("o", 1)
    mixed = from_json(b'{"tags":["t"],"balance":1,"owner":"o"}', Account)
    assert to_json(mixed) == to_json(Account("o", 1, tags=["t"]))
    with pytest.raises(InvalidArgument, match=r"\$.balance"):
        from_json(b'{"owner":"o","balance":-1}', Account)
    with pytest.raises(InvalidArgument, match="there is no Account to read"):
        from_json(None, Account)
    with pytest.raises(InvalidArgument):
        to_json(object())


async def seal(peer: FakePeer, transient: dict[str, bytes]) -> Outcome:
    tx_id = new_tx_id()
    proposal = signed_proposal(tx_id, transient=transient)
    return await peer.call("seal", "colA", "offer", tx_id=tx_id, proposal=proposal)


async def test_the_sender_is_known_by_its_certificate(network: Network) -> None:
    @contract
    class Guarded:
        @query
        async def admin(self, stub: ChaincodeStub) -> str:
            stub.identity.require_node_ou("admin")
            return stub.identity.id

        @query
        async def buyer(self, stub: ChaincodeStub) -> str:
            stub.identity.require_attribute("role", "buyer")
            return stub.identity.common_name

    peer = await network.peer(await network.serve(contracts(Guarded())), Ledger())
    tx_id = new_tx_id()
    proposal = signed_proposal(tx_id, creator=creator_of("alice", ("client",), {"role": "buyer"}))
    assert (await peer.call("buyer", tx_id=tx_id, proposal=proposal)).response.payload == b"alice"
    refused = await peer.call("admin", tx_id=tx_id, proposal=proposal)
    assert answer(refused) == (403, "UNAUTHORIZED: this takes a certificate with the OU admin", b"")


def described(contract: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(contracts(contract).metadata)
    return document


async def test_the_chaincode_describes_itself(peer: FakePeer) -> None:
    found = json.loads((await peer.call("org.hyperledger.fabric:GetMetadata")).response.payload)
    assert found["info"] == {
        "title": "Accounts",
        "version": "1.2.0",
        "description": "Accounts and what they hold.",
        "license": {"name": "Apache-2.0"},
        "contact": {"name": "Somebody"},
    }
    accounts, kinds = found["contracts"]["Accounts"], found["contracts"]["kinds"]
    assert (accounts["default"], kinds["default"]) == (True, False)
    assert kinds["info"] == {"title": "kinds", "version": "0.0.0", "description": "One function a type."}
    functions = {one["name"]: one for one in accounts["transactions"]}
    assert list(functions) == ["open", "read", "List", "pay", "seal", "cheat"]
    assert functions["open"]["tag"] == ["submit", "SUBMIT"]
    assert functions["List"] == {
        "name": "List",
        "tag": ["evaluate", "EVALUATE"],
        "parameters": [],
        "returns": {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Account"}},
    }
    assert functions["open"]["parameters"][1] == {
        "name": "balance",
        "required": False,
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**18, "default": 0},
    }
    assert functions["pay"]["parameters"][2]["schema"] == {"type": "integer", "minimum": 1}
    assert [one["name"] for one in functions["seal"]["parameters"]] == ["collection", "name"]
    assert "returns" not in functions["pay"]
    assert list(found["components"]["schemas"]) == ["Account", "Statement"]
    assert found["components"]["schemas"]["Account"] == {
        "$id": "Account",
        "title": "Account",
        "type": "object",
        "properties": {
            "owner": {"type": "string"},
            "balance": {"type": "integer", "minimum": 0, "maximum": 10**18},
            "kind": {"title": "Kind", "enum": ["current", "savings"], "default": "current"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["owner", "balance"],
    }


def test_schemas_keep_to_the_words_that_all_tools_know() -> None:
    functions = {one["name"]: one for one in described(Kinds())["contracts"]["kinds"]["transactions"]}

    def schema(name: str, index: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = functions[name]["parameters"][index]["schema"]
        return found

    assert schema("raw") == {"type": "string", "format": "byte"}
    assert schema("choice") == {"enum": ["a", "b"]}
    assert schema("maybe") == {"type": "string"}
    assert schema("maybe", 1) == {"type": "integer"}
    assert schema("pairs")["additionalProperties"] == {
        "type": "array",
        "items": [{"type": "integer"}, {"type": "string"}],
        "minItems": 2,
        "maxItems": 2,
    }
    assert functions["status"].get("returns") is None
    assert schema("nested") == {"$ref": "#/components/schemas/Statement"}
    statement = described(Kinds())["components"]["schemas"]["Statement"]
    assert statement["properties"] == {
        "account": {"$ref": "Account"},
        "history": {"type": "array", "items": {"$ref": "Account"}},
        "closed": {"type": "string", "default": None},
    }
