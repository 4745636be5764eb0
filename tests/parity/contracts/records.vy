# pragma version ==0.4.3
"""
@title What is stored, each record in one word
@notice A task keeps what changes of it, an offer where it stands, a claim what was promised and reported, a lock what a
    passing report has fixed. Everything else is in the calldata of the command, checked against the digest that is the
    record's key.
"""

U8: constant(uint256) = 2**8 - 1
U16: constant(uint256) = 2**16 - 1
U32: constant(uint256) = 2**32 - 1
U40: constant(uint256) = 2**40 - 1
U64: constant(uint256) = 2**64 - 1
U160: constant(uint256) = 2**160 - 1


struct Status:
    number: uint256  # of the task, from 1
    organization: uint256  # the provider's
    last_offer: uint256  # S, which `shut_task` moves
    shut: uint256
    dataset: uint256  # hidden, opened, slashed
    audit_bond: uint256
    samples: uint256  # n
    entries: uint256  # how often a slot was taken, `best`


struct Offer:
    state: uint256
    task: uint256  # its number
    organization: uint256  # the developer's
    provider_organization: uint256
    provider_may_operate: uint256
    acknowledged: uint256
    bond: uint256
    receipts: uint256  # a bit per organisation
    slot: uint256  # 0: none, else its index + 1
    claims: uint256  # made so far
    open: uint256  # claims with neither report nor lapse
    reported: uint256  # claims whose report is held


struct Claim:
    operator: uint256  # its account
    lease_end: uint256
    number: uint256
    state: uint256
    outcome: uint256
    score: uint256


struct Lock:
    price: uint256
    top: uint256  # what the slot holds until the price is locked
    score: uint256
    market_fee: uint256  # basis points
    deadline: uint256  # D, 0 while the offer leads


@internal
@pure
def pack_status(one: Status) -> uint256:
    return (
        one.number
        | one.organization << 32
        | one.last_offer << 40
        | one.shut << 80
        | one.dataset << 88
        | one.audit_bond << 96
        | one.samples << 160
        | one.entries << 200
    )


@internal
@pure
def status(word: uint256) -> Status:
    return Status(
        number=word & U32,
        organization=(word >> 32) & U8,
        last_offer=(word >> 40) & U40,
        shut=(word >> 80) & U8,
        dataset=(word >> 88) & U8,
        audit_bond=(word >> 96) & U64,
        samples=(word >> 160) & U40,
        entries=word >> 200,
    )


@internal
@pure
def pack_offer(one: Offer) -> uint256:
    return (
        one.state
        | one.task << 8
        | one.organization << 40
        | one.provider_organization << 48
        | one.provider_may_operate << 56
        | one.acknowledged << 57
        | one.bond << 64
        | one.receipts << 128
        | one.slot << 192
        | one.claims << 208
        | one.open << 224
        | one.reported << 240
    )


@internal
@pure
def offer(word: uint256) -> Offer:
    return Offer(
        state=word & U8,
        task=(word >> 8) & U32,
        organization=(word >> 40) & U8,
        provider_organization=(word >> 48) & U8,
        provider_may_operate=(word >> 56) & 1,
        acknowledged=(word >> 57) & 1,
        bond=(word >> 64) & U64,
        receipts=(word >> 128) & U64,
        slot=(word >> 192) & U16,
        claims=(word >> 208) & U16,
        open=(word >> 224) & U16,
        reported=word >> 240,
    )


@internal
@pure
def pack_claim(one: Claim) -> uint256:
    return (
        one.operator
        | one.lease_end << 160
        | one.number << 200
        | one.state << 216
        | one.outcome << 224
        | one.score << 232
    )


@internal
@pure
def claim(word: uint256) -> Claim:
    return Claim(
        operator=word & U160,
        lease_end=(word >> 160) & U40,
        number=(word >> 200) & U16,
        state=(word >> 216) & U8,
        outcome=(word >> 224) & U8,
        score=word >> 232,
    )


@internal
@pure
def pack_lock(one: Lock) -> uint256:
    return one.price | one.top << 64 | one.score << 128 | one.market_fee << 152 | one.deadline << 168


@internal
@pure
def lock(word: uint256) -> Lock:
    return Lock(
        price=word & U64,
        top=(word >> 64) & U64,
        score=(word >> 128) & (2**24 - 1),
        market_fee=(word >> 152) & U16,
        deadline=word >> 168,
    )
