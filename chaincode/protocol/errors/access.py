"""Refusals of who asks, and of what is not there."""

from __future__ import annotations

from goldengrain.chaincode.protocol.errors.base import ContractError


class Forbidden(ContractError):
    """Not for this identity."""

    code = "FORBIDDEN"
    status = 403


class AdminRequired(Forbidden):
    """Only an organisation's admin may (NodeOU `admin`)."""

    code = "ADMIN_REQUIRED"


class ClientRequired(Forbidden):
    """Only a client or an admin may; peers and orderers hold no coins."""

    code = "CLIENT_REQUIRED"


class DutyRefused(Forbidden):
    """The caller's organisation has narrowed its certificate to other duties (attribute `golden-grain.roles`)."""

    code = "DUTY_REFUSED"


class NotAMember(Forbidden):
    """The caller's MSP is not one of the policy's organisations."""

    code = "NOT_A_MEMBER"


class ProviderRequired(Forbidden):
    """Only the task's provider (for a receipt: its organisation) may."""

    code = "PROVIDER_REQUIRED"


class DeveloperRequired(Forbidden):
    """Only the offer's developer may."""

    code = "DEVELOPER_REQUIRED"


class OperatorRequired(Forbidden):
    """Only the enclave's operator may."""

    code = "OPERATOR_REQUIRED"


class OwnerRequired(Forbidden):
    """A coin is spent by its owner alone."""

    code = "OWNER_REQUIRED"


class OperatorNotVotedIn(Forbidden):
    """The policy doesn't name this account as an operator."""

    code = "OPERATOR_NOT_VOTED_IN"


class ForeignOrganizationRequired(Forbidden):
    """A challenge comes from another organisation than the operator's."""

    code = "FOREIGN_ORGANIZATION_REQUIRED"


class DeveloperOrganization(Forbidden):
    """An operator doesn't run a model of its own organisation."""

    code = "DEVELOPER_ORGANIZATION"


class ProviderOrganization(Forbidden):
    """The developer doesn't allow the provider's organisation to run this model."""

    code = "PROVIDER_ORGANIZATION"


class NotFound(ContractError):
    """There is no such thing on the ledger."""

    code = "NOT_FOUND"
    status = 404


class PolicyNotFound(NotFound):
    """The market was not founded yet: `Bootstrap` comes first."""

    code = "POLICY_NOT_FOUND"


class ProposalNotFound(NotFound):
    """No proposal of this id."""

    code = "PROPOSAL_NOT_FOUND"


class CoinNotFound(NotFound):
    """No unspent coin of this id and owner."""

    code = "COIN_NOT_FOUND"


class EnclaveNotFound(NotFound):
    """No enclave of this id is registered."""

    code = "ENCLAVE_NOT_FOUND"


class CollateralNotFound(NotFound):
    """No collateral is stored for this root and FMSPC: `PutCollateral` comes first."""

    code = "COLLATERAL_NOT_FOUND"


class ChallengeNotFound(NotFound):
    """No challenge of this id."""

    code = "CHALLENGE_NOT_FOUND"


class TaskNotFound(NotFound):
    """No task of this id."""

    code = "TASK_NOT_FOUND"


class OfferNotFound(NotFound):
    """No offer of this id."""

    code = "OFFER_NOT_FOUND"


class ClaimNotFound(NotFound):
    """The offer has no open claim of this number."""

    code = "CLAIM_NOT_FOUND"


class SlotNotFound(NotFound):
    """The task has no slot of this number."""

    code = "SLOT_NOT_FOUND"
