"""A contract with every kind of parameter, for tests here and on networks."""

import asyncio
import datetime
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

from msgspec import Meta

from goldengrain.chaincode.shim import (
    ChaincodeServer,
    ChaincodeStub,
    ClockWindow,
    Refusal,
    Response,
    after,
    before,
    contract,
    contracts,
    from_json,
    otherwise,
    query,
    serve,
    to_json,
    transaction,
)

Amount = Annotated[int, Meta(ge=0, le=10**18)]


class Kind(Enum):
    CURRENT = "current"
    SAVINGS = "savings"


@dataclass
class Account:
    owner: str
    balance: Amount
    kind: Kind = Kind.CURRENT
    tags: list[str] = field(default_factory=list)


@dataclass
class Statement:
    account: Account
    history: list[Account]
    closed: datetime.datetime | None = None


@contract(version="1.2.0", license="Apache-2.0", contact={"name": "Somebody"})
class Accounts:
    """Accounts and what they hold."""

    @transaction
    async def open(
        self,
        stub: ChaincodeStub,
        name: str,
        balance: Amount = 0,
        kind: Kind = Kind.CURRENT,
        tags: list[str] | None = None,
    ) -> Account:
        if await stub.get_state(name) is not None:
            raise Refusal(f"{name} is there already", 409, "TAKEN")
        account = Account(stub.identity.msp_id, balance, kind, tags or [])
        await stub.put_state(name, to_json(account))
        stub.set_event("opened", name.encode())
        return account

    @query
    async def read(self, stub: ChaincodeStub, name: str) -> Account:
        raw = await stub.get_state(name)
        if raw is None:
            raise Refusal(f"there is no account {name}", 404, "NO_ACCOUNT")
        return from_json(raw, Account)

    @query(name="List")
    async def all_accounts(self, stub: ChaincodeStub) -> dict[str, Account]:
        return {row.key: from_json(row.value, Account) async for row in stub.range()}

    @transaction
    async def pay(self, stub: ChaincodeStub, payer: str, payee: str, amount: Annotated[int, Meta(gt=0)]) -> None:
        source, target = [from_json(raw, Account) for raw in await stub.get_states([payer, payee])]
        if source.balance < amount:
            raise Refusal(f"{payer} holds {source.balance}", 409, "TOO_LITTLE")
        source.balance -= amount
        target.balance += amount
        await stub.put_state(payer, to_json(source))
        await stub.put_state(payee, to_json(target))

    @transaction
    async def seal(self, stub: ChaincodeStub, collection: str, name: str, *, price: int, note: str = "none") -> None:
        await stub.private_data(collection).put(name, to_json({"price": price, "note": note}))

    @query
    async def cheat(self, stub: ChaincodeStub) -> None:
        await stub.put_state("a", b"1")


@contract(name="kinds", description="One function a type.")
class Kinds:
    @query
    async def texts(self, stub: ChaincodeStub, one: str, two: str = "two") -> str:
        return f"{one}|{two}"

    @query
    async def raw(self, stub: ChaincodeStub, data: bytes) -> bytes:
        return data[::-1]

    @query
    async def number(self, stub: ChaincodeStub, number: int) -> int:
        return number + 1

    @query
    async def fraction(self, stub: ChaincodeStub, number: float) -> float:
        return number / 2

    @query
    async def truth(self, stub: ChaincodeStub, is_so: bool) -> bool:
        return not is_so

    @query
    async def kind(self, stub: ChaincodeStub, kind: Kind) -> Kind:
        return kind

    @query
    async def choice(self, stub: ChaincodeStub, choice: Literal["a", "b"]) -> str:
        return choice

    @query
    async def when(self, stub: ChaincodeStub, when: datetime.datetime) -> datetime.datetime:
        return when + datetime.timedelta(hours=1)

    @query
    async def exact(self, stub: ChaincodeStub, number: Decimal) -> Decimal:
        return number * 2

    @query
    async def maybe(self, stub: ChaincodeStub, text: str | None = None, number: int | None = None) -> list[Any]:
        return [text, number]

    @query
    async def pairs(self, stub: ChaincodeStub, pairs: dict[str, tuple[int, str]]) -> list[str]:
        return [f"{name}{number}{text}" for name, (number, text) in pairs.items()]

    @query
    async def nested(self, stub: ChaincodeStub, statement: Statement) -> Statement:
        return Statement(statement.history[0], [statement.account], statement.closed)

    @query
    async def nothing(self, stub: ChaincodeStub) -> None:
        return None

    @query
    async def status(self, stub: ChaincodeStub, status: int) -> Response:
        return Response(status, "as told", b"payload")


@contract
class Watched:
    """Hooks around every call."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @before
    async def check(self, stub: ChaincodeStub) -> None:
        self.seen.append(("before", stub.function))
        if stub.function.endswith("secret"):
            raise Refusal("nobody may", 403)

    @after
    async def note(self, stub: ChaincodeStub, result: object) -> None:
        self.seen.append(("after", result))

    @otherwise
    async def unknown(self, stub: ChaincodeStub) -> str:
        return f"unknown {stub.function}"

    @query
    async def known(self, stub: ChaincodeStub) -> str:
        return "known"


if __name__ == "__main__":
    server = ChaincodeServer.from_environment(contracts(Accounts(), Kinds(), title="Bank"), guard=ClockWindow(60))
    asyncio.run(serve(server))
