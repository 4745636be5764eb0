"""Whether a transaction's endorsements satisfy the policies of everything that it writes.

For one chaincode (namespace), for each key that it writes, public or private:
- the key has a policy of its own (metadata entry VALIDATION_PARAMETER): that one alone decides for the key. If an
  earlier transaction of the same block has changed the key's metadata, nothing can satisfy it any more;
- the key is in a collection with an endorsement policy: that one decides;
- otherwise the chaincode's policy decides.
If no policy was asked at all (nothing written), the chaincode's must hold. Each policy is evaluated once.
"""

from collections.abc import Callable, Iterator, Sequence

from goldengrain.network.embedded.config import ChannelConfig
from goldengrain.network.embedded.definitions import ChaincodeDefinitions
from goldengrain.network.embedded.errors import PolicyError, PolicySyntaxError
from goldengrain.network.embedded.msp import Identity
from goldengrain.network.embedded.policies import Policy, SignedData, valid_identities
from goldengrain.network.embedded.rwset import NamespaceRwSet
from goldengrain.network.embedded.state import StateKey, decode_metadata

VALIDATION_PARAMETER = "VALIDATION_PARAMETER"
"""The metadata entry that holds a key's own policy, a serialised common.SignaturePolicyEnvelope."""


def key_policy(metadata: bytes) -> bytes:
    """Return a key's own policy, empty if it has none."""
    return decode_metadata(metadata).get(VALIDATION_PARAMETER, b"")


class EndorsementValidator:
    """Evaluates the endorsement policies for the transactions of one block, in order."""

    def __init__(
        self,
        metadata: Callable[[StateKey], bytes],
        definitions: ChaincodeDefinitions,
        config: ChannelConfig,
    ) -> None:
        self._metadata = metadata
        self._definitions = definitions
        self._config = config
        self._changed: set[StateKey] = set()

    def check(
        self, chaincode: str, policy: bytes, written: NamespaceRwSet | None, signed: Sequence[SignedData]
    ) -> None:
        """Check one chaincode's writes; raises PolicyError."""
        identities = valid_identities(signed, self._config.msps)
        asked: set[str] = set()
        for key in _written_keys(written):
            self._check_key(chaincode, policy, key, identities, asked)
        if not asked:
            self._evaluate(policy, identities)

    def accepted(self, rwsets: Sequence[NamespaceRwSet]) -> None:
        """A transaction was accepted: from now on nothing in this block may write keys whose metadata it changes."""
        for entry in rwsets:
            self._changed.update(StateKey(entry.namespace, "", m.key.encode()) for m in entry.public.metadata_writes)
            for part in entry.collections:
                self._changed.update(
                    StateKey(entry.namespace, part.name, m.key_hash) for m in part.hashed.metadata_writes
                )

    def _check_key(
        self, chaincode: str, policy: bytes, key: StateKey, identities: Sequence[Identity], asked: set[str]
    ) -> None:
        if key in self._changed:
            raise PolicyError(
                "validation parameters for the key have been changed in an earlier transaction of the block"
            )
        own = key_policy(self._metadata(key))
        if own:
            self._evaluate_own(own, identities)
            asked.add("a key's own")
            return
        if key.collection:
            asked_collection = f"collection {key.collection}"
            if asked_collection in asked:
                return
            of_collection = self._collection_policy(chaincode, key.collection)
            if of_collection:
                self._evaluate(of_collection, identities)
                asked.add(asked_collection)
                return
        if "chaincode" not in asked:
            self._evaluate(policy, identities)
            asked.add("chaincode")

    def _collection_policy(self, chaincode: str, name: str) -> bytes:
        collection = self._definitions.collection(self._config, chaincode, name)
        if collection is None:
            raise PolicyError(f"no collection {name} of chaincode {chaincode}")
        return collection.endorsement_policy

    def _evaluate(self, policy: bytes, identities: Sequence[Identity]) -> None:
        try:
            self._config.policies.application(policy).check(identities)
        except PolicySyntaxError as error:
            raise PolicyError(str(error)) from error

    def _evaluate_own(self, policy: bytes, identities: Sequence[Identity]) -> None:
        try:
            compiled: Policy = self._config.policies.signature(policy)
        except PolicySyntaxError as error:
            raise PolicyError(str(error)) from error
        compiled.check(identities)


def _written_keys(written: NamespaceRwSet | None) -> Iterator[StateKey]:
    if written is None:
        return
    for write in written.public.writes:
        yield StateKey(written.namespace, "", write.key.encode())
    for note in written.public.metadata_writes:
        yield StateKey(written.namespace, "", note.key.encode())
    for part in written.collections:
        for hashed in part.hashed.hashed_writes:
            yield StateKey(written.namespace, part.name, hashed.key_hash)
        for hashed_note in part.hashed.metadata_writes:
            yield StateKey(written.namespace, part.name, hashed_note.key_hash)
