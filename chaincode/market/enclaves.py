"""Enclaves: collateral, challenges, registration, and whether one may work (protocol section 4).

Registration needs three transactions, each by another hand: anyone stores the platform's collateral, a client of
another organisation challenges the operator, and the operator sends the quote. The nine checks of the quote are in
`protocol.quotes`, in order; this module brings what the ledger knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.guards import (
    require,
    require_client,
    require_member,
    require_policy,
    require_voted_in,
)
from goldengrain.chaincode.market.records import ChallengeRecord, CollateralRecord, EnclaveRecord
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Rule
from goldengrain.chaincode.market.state import replace
from goldengrain.chaincode.protocol import quotes
from goldengrain.chaincode.protocol.accounts import Duty
from goldengrain.chaincode.protocol.collateral import read_collateral
from goldengrain.chaincode.protocol.commands import Challenge, PutCollateral, RegisterEnclave
from goldengrain.chaincode.protocol.errors import (
    ChallengeNotFound,
    CollateralNotFound,
    EnclaveBundleRetired,
    EnclaveExists,
    EnclaveExpired,
    EnclaveMeasurementRetired,
    EnclaveNotFound,
    EnclaveRevoked,
    EnclaveStatusRetired,
    ForeignOrganizationRequired,
    QuoteRootUnknown,
    VerifierMismatch,
)
from goldengrain.chaincode.protocol.evidence import QuoteVerdict, tee_of
from goldengrain.chaincode.protocol.policy import Policy


def put_collateral(command: PutCollateral, tx: Context) -> Rule:
    """Store collateral once it is verified under an accepted root; its numbers only rise."""
    found = yield Get([keys.POLICY])
    policy = require_policy(found)
    root = policy.root(command.root)
    if root is None:
        raise QuoteRootUnknown("the policy doesn't accept this attestation root; name one of its roots")
    require_verifier(policy)
    collateral = read_collateral(command.collateral, root.certificate, tx.timestamp)
    key = keys.collateral(command.root, collateral.fmspc, collateral.tee)
    stored = (yield Get([key])).get(key)
    if stored is not None:
        collateral.require_newer(stored.numbers)
    effects = Effects(tx, policy.window)
    record = CollateralRecord(
        root=command.root,
        fmspc=collateral.fmspc,
        numbers=collateral.numbers,
        text=command.collateral,
        stored=tx.timestamp,
        transaction=tx.tx_id,
    )
    effects.put(key, record)
    effects.tell(
        root=command.root.hex(), fmspc=collateral.fmspc.hex(), tee=collateral.tee, numbers=list(collateral.numbers)
    )
    effects.result = {"root": command.root.hex(), "fmspc": collateral.fmspc.hex(), "tee": collateral.tee}
    return effects


def challenge(command: Challenge, tx: Context) -> Rule:
    """Challenge an operator; the transaction's id is the nonce that the quote has to bind."""
    require_client(tx.caller)
    found = yield Get([keys.POLICY])
    policy = require_policy(found)
    require_member(tx.caller, policy)
    effects = Effects(tx, policy.window)
    effects.put(keys.challenge(tx.tx_id), ChallengeRecord(command.operator, tx.caller.msp_id, tx.timestamp))
    effects.tell(challenge=tx.tx_id, operator=command.operator.hex(), organization=tx.caller.msp_id)
    effects.result = {"challenge": tx.tx_id}
    return effects


def register_enclave(command: RegisterEnclave, tx: Context) -> Rule:
    """Register an enclave, or renew it; its operator, voted in. The challenge is used up."""
    require_client(tx.caller, Duty.OPERATOR)
    challenge_key = keys.challenge(command.challenge)
    collateral_key = keys.collateral(command.root, command.fmspc, tee_of(command.quote))
    enclave_key = keys.enclave(command.enclave)
    found = yield Get([keys.POLICY, challenge_key, collateral_key, enclave_key])
    policy = require_policy(found)
    require_member(tx.caller, policy)
    require_voted_in(tx.caller, policy)
    require_verifier(policy)
    made = require(found, challenge_key, ChallengeNotFound, f"there is no challenge {command.challenge}; ask for one")
    if made.msp_id == tx.caller.msp_id:
        raise ForeignOrganizationRequired("the challenge comes from the operator's own organisation; ask another one")
    registration = _registration(command, tx, made)
    stored = found.get(collateral_key)
    collateral = _collateral(stored, registration, policy, tx.timestamp)
    verdict = quotes.verify_registration(registration, collateral, policy, tx.timestamp)
    _require_renewable(found.get(enclave_key), tx)
    enclave = replace(
        _new_enclave(command, tx, policy, verdict), collateral=stored.transaction if stored is not None else None
    )
    effects = Effects(tx, policy.window)
    effects.put(enclave_key, enclave)
    effects.put(challenge_key, ChallengeRecord(made.operator, made.msp_id, made.made, used_by=enclave.id))
    effects.tell(
        enclave=enclave.id.hex(),
        operator=enclave.operator.hex(),
        organization=enclave.operator_msp,
        measurement=enclave.measurement.hex(),
        status=enclave.status,
        simulated=enclave.simulated,
        bundle=enclave.bundle.hex(),
        encryption_key=enclave.encryption_key.hex(),
        expires=enclave.expires,
    )
    effects.result = {"enclave": enclave.id.hex(), "expires": enclave.expires, "simulated": enclave.simulated}
    return effects


def require_verifier(policy: Policy) -> None:
    """Refuse where this contract verifies quotes with another version than voted: endorsers refuse, never differ."""
    if policy.verifier != quotes.VERIFIER:
        raise VerifierMismatch(
            f"the policy wants version {policy.verifier} of the quote verification, this peer's contract has "
            f"{quotes.VERIFIER}; upgrade the contract, or vote a policy that names its version"
        )


def require_enclave(found: Found, enclave: bytes) -> EnclaveRecord:
    """Return a registered enclave; raises `EnclaveNotFound`."""
    return require(found, keys.enclave(enclave), EnclaveNotFound, f"no enclave {enclave.hex()} is registered")


def require_fit(enclave: EnclaveRecord, policy: Policy, at: int) -> None:
    """Refuse an enclave that may not work, or no longer: revoked, expired, or what it is is not accepted any more."""
    if enclave.revoked:
        raise EnclaveRevoked("the organisations have revoked this enclave; start one with new keys")
    if at > enclave.expires:
        raise EnclaveExpired(f"the registration ended at {enclave.expires}; register the enclave again")
    if enclave.measurement not in policy.measurements:
        raise EnclaveMeasurementRetired(f"the policy no longer accepts the measurement {enclave.measurement.hex()}")
    if enclave.status not in policy.statuses:
        raise EnclaveStatusRetired(f"the policy no longer accepts the TCB status {enclave.status}")
    if policy.root(enclave.root) is None:
        raise EnclaveStatusRetired("the policy no longer accepts the enclave's attestation root")
    if not policy.accepts_bundle(enclave.bundle, at):
        raise EnclaveBundleRetired("the policy no longer names the enclave's trust bundle; restart it with the current")


def require_fit_enclaves(found: Found, enclaves: Iterable[bytes], policy: Policy, at: int) -> list[EnclaveRecord]:
    """Return enclaves to which something is sealed; raises unless each is registered and may work."""
    records = [require_enclave(found, one) for one in enclaves]
    for record in records:
        require_fit(record, policy, at)
    return records


def _registration(command: RegisterEnclave, tx: Context, made: ChallengeRecord) -> quotes.Registration:
    return quotes.Registration(
        channel=tx.channel,
        contract=tx.contract,
        operator=tx.caller.account,
        challenge=bytes.fromhex(command.challenge),
        challenged=made.operator,
        challenge_made=made.made,
        challenge_used=made.used_by is not None,
        quote=command.quote,
        root=command.root,
        signing_key=command.signing_key,
        encryption_key=command.encryption_key,
        bundle=command.bundle,
    )


def _collateral(stored: CollateralRecord | None, registration: quotes.Registration, policy: Policy, at: int) -> str:
    """Return the stored collateral. Where there is none, the checks before the quote's own come first."""
    if stored is not None:
        return stored.text
    quotes.check_sizes(registration)
    quotes.check_challenge(registration, policy, at)
    if policy.root(registration.root) is None:
        raise QuoteRootUnknown("the policy doesn't accept this attestation root; is the market one of real hardware?")
    raise CollateralNotFound("no collateral is stored for this root, FMSPC and TEE; send `PutCollateral` first")


def _require_renewable(before: EnclaveRecord | None, tx: Context) -> None:
    if before is None:
        return
    if before.revoked:
        raise EnclaveRevoked("the organisations have revoked this enclave; start one with new keys")
    if before.operator != tx.caller.account:
        raise EnclaveExists("these keys are registered to another operator")


def _new_enclave(command: RegisterEnclave, tx: Context, policy: Policy, verdict: QuoteVerdict) -> EnclaveRecord:
    return EnclaveRecord(
        id=command.enclave,
        signing_key=command.signing_key,
        encryption_key=command.encryption_key,
        operator=tx.caller.account,
        operator_msp=tx.caller.msp_id,
        root=verdict.root,
        fmspc=verdict.fmspc,
        measurement=verdict.measurement,
        status=verdict.status,
        simulated=verdict.simulated,
        bundle=command.bundle,
        policy_number=policy.number,
        registered=tx.timestamp,
        expires=min(verdict.expires, tx.timestamp + policy.enclave_age),
        transaction=tx.tx_id,
    )
