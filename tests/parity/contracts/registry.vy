# pragma version ==0.4.3
"""
@title Who is who, and what the organisations have voted (protocol sections 1, 3 and 4)
@notice Accounts, enclaves and the policy. An organisation is a number from 1 to 64. Its governors propose and vote; the
    vote that completes a majority carries a proposal out in the same transaction. Quotes are verified off the chain:
    that an enclave's keys are an enclave's, the governors vouch for by their votes.

    The market asks whether somebody may do something; a refusal is this contract's, and its code passes through.
"""
import policies
import refusals

MAX_OPERATORS: constant(uint256) = 16
MAX_MEMBERS: constant(uint256) = 32
MAX_ENVELOPES: constant(uint256) = 64
MAX_BODY: constant(uint256) = 2048

GOVERNOR: constant(uint256) = 1 << 8

POLICY: constant(uint256) = 1
ENROL: constant(uint256) = 2
REGISTER: constant(uint256) = 3
REVOKE: constant(uint256) = 4
SPEND: constant(uint256) = 5

# what every swap reads of the policy, in one word
PAUSED_AT: constant(uint256) = 32
LEASE_MIN_AT: constant(uint256) = 40
LEASE_MAX_AT: constant(uint256) = 72
ORGANIZATIONS_AT: constant(uint256) = 104

# an enclave's first word: the signer's address in the low 160 bits
EXPIRES_AT: constant(uint256) = 160
ORGANIZATION_AT: constant(uint256) = 200
REVOKED_AT: constant(uint256) = 208


interface Treasury:
    def spend(to: address, amount: uint256): nonpayable


struct Member:
    account: address
    organization: uint256
    governor: bool


struct Envelope:
    enclave: bytes32
    digest: bytes32


struct Enclave:
    keys: uint256
    operator: address
    bundle: bytes32


struct Registration:
    x: uint256
    y: uint256
    operator: address
    bundle: bytes32


struct Proposal:
    content: bytes32
    votes: uint256
    expires: uint256
    carried: bool


event Adopted:
    policy: policies.Policy
    operators: DynArray[address, MAX_OPERATORS]


event Enrolled:
    account: indexed(address)
    organization: uint256
    governor: bool


event Registered:
    enclave: indexed(bytes32)
    operator: indexed(address)
    signer: address
    bundle: bytes32
    expires: uint256


event Revoked:
    enclave: indexed(bytes32)


event Proposed:
    proposal: indexed(uint256)
    kind: uint256
    body: Bytes[MAX_BODY]
    organization: uint256


event Voted:
    proposal: indexed(uint256)
    organization: uint256
    carried: bool


policy: policies.Policy
swift: uint256
members: HashMap[address, uint256]
named: HashMap[address, uint256]
enclaves: HashMap[bytes32, Enclave]
proposals: HashMap[uint256, Proposal]
proposal_count: public(uint256)


@deploy
def __init__(founders: DynArray[Member, MAX_MEMBERS]):
    """
    @param founders The accounts of the founding organisations, their governors among them.
    """
    for one: Member in founders:
        self._enrol(one)


# --- the organisations ------------------------------------------------------------------------------------------------


@external
def bootstrap(policy: policies.Policy, operators: DynArray[address, MAX_OPERATORS]):
    """
    @notice Found the market with policy number 1; once, by any governor.
    """
    organization: uint256 = self._governor()
    refusals.require(self.swift == 0, refusals.ALREADY_BOOTSTRAPPED)
    self._require_in(organization, policy.organizations)
    self._adopt(policy, operators)


@external
def propose(kind: uint256, body: Bytes[MAX_BODY]) -> uint256:
    """
    @notice Put one thing to the vote, which is also a vote for it. `body` is the ABI encoding of
        POLICY: (Policy, address[]), ENROL: Member, REGISTER: Registration, REVOKE: bytes32,
        SPEND: (market, to, amount).
    """
    organization: uint256 = self._governor()
    refusals.require(self.swift != 0, refusals.POLICY_NOT_FOUND)
    self._require_in(organization, self.policy.organizations)
    if kind == POLICY:
        policy: policies.Policy = empty(policies.Policy)
        operators: DynArray[address, MAX_OPERATORS] = []
        policy, operators = abi_decode(body, (policies.Policy, DynArray[address, MAX_OPERATORS]))
        self._require_next(policy)
    refusals.require(kind >= POLICY and kind <= SPEND, refusals.MALFORMED_INPUT)
    self.proposal_count += 1
    proposal: uint256 = self.proposal_count
    self.proposals[proposal] = Proposal(
        content=keccak256(abi_encode(kind, body)),
        votes=self._bit(organization),
        expires=block.timestamp + self.policy.proposal_age,
        carried=False,
    )
    log Proposed(proposal=proposal, kind=kind, body=body, organization=organization)
    return proposal


@external
def vote(proposal: uint256, kind: uint256, body: Bytes[MAX_BODY]) -> bool:
    """
    @notice Vote for a proposal, given again as it was proposed; true where this vote has carried it out.
    """
    organization: uint256 = self._governor()
    policy: policies.Policy = self.policy
    refusals.require(policy.number != 0, refusals.POLICY_NOT_FOUND)
    self._require_in(organization, policy.organizations)
    open: Proposal = self.proposals[proposal]
    refusals.require(open.content != empty(bytes32), refusals.PROPOSAL_NOT_FOUND)
    refusals.require(not open.carried and block.timestamp <= open.expires, refusals.PROPOSAL_CLOSED)
    refusals.require(open.votes & self._bit(organization) == 0, refusals.ALREADY_VOTED)
    refusals.require(open.content == keccak256(abi_encode(kind, body)), refusals.PROPOSAL_NOT_FOUND)
    votes: uint256 = open.votes | self._bit(organization)
    carried: bool = policies.count(votes & policy.organizations) >= policies.votes_needed(policy)
    self.proposals[proposal].votes = votes
    self.proposals[proposal].carried = carried
    log Voted(proposal=proposal, organization=organization, carried=carried)
    if carried:
        self._carry_out(kind, body)
    return carried


@internal
def _carry_out(kind: uint256, body: Bytes[MAX_BODY]):
    if kind == POLICY:
        policy: policies.Policy = empty(policies.Policy)
        operators: DynArray[address, MAX_OPERATORS] = []
        policy, operators = abi_decode(body, (policies.Policy, DynArray[address, MAX_OPERATORS]))
        self._adopt(policy, operators)
    elif kind == ENROL:
        self._enrol(abi_decode(body, Member))
    elif kind == REGISTER:
        self._register(abi_decode(body, Registration))
    elif kind == REVOKE:
        self._revoke(abi_decode(body, bytes32))
    else:
        market: address = empty(address)
        to: address = empty(address)
        amount: uint256 = 0
        market, to, amount = abi_decode(body, (address, address, uint256))
        extcall Treasury(market).spend(to, amount)


@internal
def _adopt(policy: policies.Policy, operators: DynArray[address, MAX_OPERATORS]):
    self._require_next(policy)
    self.policy = policy
    self.policy.operators = len(operators)
    self.swift = (
        policy.number
        | convert(policy.paused, uint256) << PAUSED_AT
        | policy.lease_min << LEASE_MIN_AT
        | policy.lease_max << LEASE_MAX_AT
        | policy.organizations << ORGANIZATIONS_AT
    )
    for operator: address in operators:
        refusals.require(self.named[operator] != policy.number, refusals.MALFORMED_INPUT)
        self.named[operator] = policy.number
    log Adopted(policy=policy, operators=operators)


@internal
@view
def _require_next(policy: policies.Policy):
    policies.check(policy)
    refusals.require(policy.number == self.policy.number + 1, refusals.POLICY_NUMBER_STALE)


@internal
def _enrol(member: Member):
    refusals.require(member.organization >= 1 and member.organization <= 64, refusals.MALFORMED_INPUT)
    self.members[member.account] = member.organization | (GOVERNOR if member.governor else 0)
    log Enrolled(account=member.account, organization=member.organization, governor=member.governor)


@internal
def _register(new: Registration):
    """
    @dev Both the id and the signer's address are made here of the same point, so that no vote can pair two keys.
    """
    organization: uint256 = self.members[new.operator] & 255
    self._require_in(organization, self.policy.organizations)
    refusals.require(self.named[new.operator] == self.policy.number, refusals.OPERATOR_NOT_VOTED_IN)
    prefix: bytes1 = 0x03 if new.y & 1 == 1 else 0x02
    enclave: bytes32 = sha256(concat(prefix, convert(new.x, bytes32)))
    signer: address = convert(
        convert(keccak256(concat(convert(new.x, bytes32), convert(new.y, bytes32))), uint256) & (2**160 - 1), address
    )
    before: Enclave = self.enclaves[enclave]
    refusals.require(before.keys >> REVOKED_AT == 0, refusals.ENCLAVE_REVOKED)
    refusals.require(before.keys == 0 or before.operator == new.operator, refusals.ENCLAVE_EXISTS)
    expires: uint256 = block.timestamp + self.policy.enclave_age
    self.enclaves[enclave] = Enclave(
        keys=convert(signer, uint256) | expires << EXPIRES_AT | organization << ORGANIZATION_AT,
        operator=new.operator,
        bundle=new.bundle,
    )
    log Registered(enclave=enclave, operator=new.operator, signer=signer, bundle=new.bundle, expires=expires)


@internal
def _revoke(enclave: bytes32):
    keys: uint256 = self.enclaves[enclave].keys
    refusals.require(keys != 0, refusals.ENCLAVE_NOT_FOUND)
    self.enclaves[enclave].keys = keys | 1 << REVOKED_AT
    log Revoked(enclave=enclave)


@internal
@view
def _governor() -> uint256:
    member: uint256 = self.members[msg.sender]
    refusals.require(member & GOVERNOR != 0, refusals.ADMIN_REQUIRED)
    return member & 255


@internal
@pure
def _bit(organization: uint256) -> uint256:
    return 1 << (organization - 1)


@internal
@pure
def _require_in(organization: uint256, organizations: uint256):
    refusals.require(organization != 0, refusals.NOT_A_MEMBER)
    refusals.require(organizations & self._bit(organization) != 0, refusals.NOT_A_MEMBER)


# --- what the market asks ---------------------------------------------------------------------------------------------


@external
@view
def organization(account: address) -> uint256:
    """
    @notice The organisation that an account is of, in the policy or not.
    """
    return self._organization(account)


@external
@view
def member(account: address) -> uint256:
    """
    @notice The organisation of an account that may begin something new now.
    """
    return self._member(account)


@external
@view
def opening(account: address) -> (uint256, policies.Policy):
    """
    @notice As `member`, with the policy under which a task is opened.
    """
    return self._member(account), self.policy


@external
@view
def sealable(envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> uint256:
    """
    @notice Refuse unless every enclave may work; how many operators they have together.
    """
    operators: DynArray[address, MAX_ENVELOPES] = []
    for one: Envelope in envelopes:
        enclave: Enclave = self._fit(one.enclave)
        if enclave.operator not in operators:
            operators.append(enclave.operator)
    return len(operators)


@external
@view
def fit(envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> bool:
    """
    @notice Refuse unless every enclave may work.
    """
    for one: Envelope in envelopes:
        self._require_fit(self.enclaves[one.enclave].keys, self.enclaves[one.enclave].bundle)
    return True


@external
@view
def operable(account: address, enclave: bytes32) -> (uint256, uint256, uint256):
    """
    @notice Refuse unless an account, voted in, operates this enclave and it may work; its organisation and the bounds
        of a lease.
    """
    found: Enclave = self.enclaves[enclave]
    refusals.require(found.keys != 0, refusals.ENCLAVE_NOT_FOUND)
    refusals.require(found.operator == account, refusals.OPERATOR_REQUIRED)
    swift: uint256 = self.swift
    refusals.require(self.named[account] == swift & (2**32 - 1), refusals.OPERATOR_NOT_VOTED_IN)
    self._require_fit(found.keys, found.bundle)
    return (
        (found.keys >> ORGANIZATION_AT) & 255,
        (swift >> LEASE_MIN_AT) & (2**32 - 1),
        (swift >> LEASE_MAX_AT) & (2**32 - 1),
    )


@external
@view
def signer(enclave: bytes32) -> (address, bytes32):
    """
    @notice Refuse unless an enclave may work; the address of its signing key and its trust bundle's digest.
    """
    found: Enclave = self._fit(enclave)
    return convert(found.keys & (2**160 - 1), address), found.bundle


@internal
@view
def _organization(account: address) -> uint256:
    return self.members[account] & 255


@internal
@view
def _member(account: address) -> uint256:
    swift: uint256 = self.swift
    refusals.require(swift != 0, refusals.POLICY_NOT_FOUND)
    refusals.require((swift >> PAUSED_AT) & 255 == 0, refusals.MARKET_PAUSED)
    organization: uint256 = self._organization(account)
    self._require_in(organization, swift >> ORGANIZATIONS_AT)
    return organization


@internal
@view
def _fit(enclave: bytes32) -> Enclave:
    found: Enclave = self.enclaves[enclave]
    self._require_fit(found.keys, found.bundle)
    return found


@internal
@view
def _require_fit(keys: uint256, bundle: bytes32):
    refusals.require(keys != 0, refusals.ENCLAVE_NOT_FOUND)
    refusals.require(keys >> REVOKED_AT == 0, refusals.ENCLAVE_REVOKED)
    refusals.require(block.timestamp <= (keys >> EXPIRES_AT) & (2**40 - 1), refusals.ENCLAVE_EXPIRED)
    if bundle != self.policy.bundle:
        previous: bool = bundle == self.policy.previous_bundle and block.timestamp <= self.policy.previous_sunset
        refusals.require(previous, refusals.ENCLAVE_BUNDLE_RETIRED)
