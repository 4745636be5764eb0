# pragma version ==0.4.3
"""
@title Digests of the protocol (section 9): SHA-256 over 32-byte words, the first a tag
@notice Each struct has its fields in the order of its digest, so that its ABI encoding is what is hashed. The words for
    channel and contract are this chain's id and this contract's address. An account is its word, the address as a
    number, and a flag 0 or 1: structs of words alone need no checks of types, which keeps code small.
"""

MAX_POINTS: constant(uint256) = 16

LIST: constant(bytes32) = sha256("golden-grain/list/v1")
SPEC: constant(bytes32) = sha256("golden-grain/spec/v1")
DATASET: constant(bytes32) = sha256("golden-grain/dataset/v1")
SCHEDULE: constant(bytes32) = sha256("golden-grain/schedule/v1")
TASK: constant(bytes32) = sha256("golden-grain/task/v1")
ORDER: constant(bytes32) = sha256("golden-grain/order/v1")
OFFER: constant(bytes32) = sha256("golden-grain/offer/v1")
TICKET: constant(bytes32) = sha256("golden-grain/ticket/v1")
REPORT: constant(bytes32) = sha256("golden-grain/report/v1")

TERMS: constant(uint256) = 9


struct Spec:
    metric: bytes32
    wilson: bool
    samples: uint256
    tensors: bytes32
    limits: bytes32
    seed: uint256
    scale: uint256


struct Conditions:
    provider: uint256
    provider_key: bytes32
    spec: bytes32
    dataset: bytes32
    schedule: bytes32
    award: bytes32
    slots: uint256
    last_offer: uint256
    last_report: uint256
    last_opening: uint256
    reveal: uint256
    eta: uint256
    attempts: uint256
    enclaves: uint256


struct Terms:
    benchmark_fee: uint256
    market_fee: uint256
    bond: uint256
    audit_bond: uint256
    deposit: uint256
    required: uint256
    window: uint256
    guard: uint256
    test: uint256


struct Task:
    conditions: Conditions
    terms: Terms


struct Order:
    task: bytes32
    provider_key: bytes32
    spec: bytes32
    developer: uint256
    payout: uint256
    attempt: uint256
    ciphertext: bytes32
    size: uint256
    chunk_size: uint256
    key_check: bytes32
    secret_hash: bytes32
    reserve: uint256


struct Ticket:
    order: bytes32
    offer: bytes32
    claim: uint256
    enclave: bytes32
    bundle: bytes32
    lease_end: uint256
    threshold: uint256
    model_envelope: bytes32
    dataset_envelope: bytes32


struct Report:
    task: bytes32
    offer: bytes32
    order: bytes32
    ciphertext: bytes32
    dataset: bytes32
    spec: bytes32
    outcome: bytes32
    score: uint256
    samples: uint256
    locked: bytes32
    model: bytes32
    ticket: bytes32
    claim: uint256
    enclave: bytes32


@internal
@view
def task(task: Task) -> bytes32:
    """
    @notice D(task; ...), a task's id.
    """
    terms: bytes32 = sha256(abi_encode(LIST, TERMS, task.terms))
    return sha256(abi_encode(TASK, chain.id, self, task.conditions, terms))


@internal
@view
def order(order: Order) -> bytes32:
    """
    @notice D(order; ...).
    """
    return sha256(abi_encode(ORDER, chain.id, self, order))


@internal
@pure
def offer(order: bytes32) -> bytes32:
    """
    @notice D(offer; order), an offer's id.
    """
    return sha256(concat(OFFER, order))


@internal
@view
def ticket(ticket: Ticket) -> bytes32:
    """
    @notice D(ticket; ...).
    """
    return sha256(abi_encode(TICKET, chain.id, self, ticket))


@internal
@view
def report(report: Report) -> bytes32:
    """
    @notice D(report; ...), what an enclave signs.
    """
    return sha256(abi_encode(REPORT, chain.id, self, report))


@internal
@pure
def spec(spec: Spec) -> bytes32:
    """
    @notice D(spec; ...).
    """
    return sha256(abi_encode(SPEC, spec))


@internal
@pure
def dataset(ciphertext: bytes32, plaintext: bytes32, key: bytes32) -> bytes32:
    """
    @notice D(dataset; ciphertext, plaintext, key): of digests, the key's too.
    """
    return sha256(concat(DATASET, ciphertext, plaintext, key))


@internal
@pure
def schedule(points: DynArray[uint256, MAX_POINTS]) -> bytes32:
    """
    @notice D(schedule; scores, prices) of points `score << 64 | price`.
    """
    scores: uint256[MAX_POINTS + 2] = empty(uint256[MAX_POINTS + 2])
    prices: uint256[MAX_POINTS + 2] = empty(uint256[MAX_POINTS + 2])
    scores[0] = convert(LIST, uint256)
    scores[1] = len(points)
    position: uint256 = 2
    for point: uint256 in points:
        scores[position] = point >> 64
        prices[position] = point & (2**64 - 1)
        position += 1
    prices[0] = scores[0]
    prices[1] = scores[1]
    size: uint256 = 32 * position
    return sha256(
        concat(
            SCHEDULE, sha256(slice(abi_encode(scores), 0, size)), sha256(slice(abi_encode(prices), 0, size))
        )
    )
