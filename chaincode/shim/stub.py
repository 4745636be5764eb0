"""`ChaincodeStub`: what a chaincode sees of its transaction and of the ledger."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_event_pb2, chaincode_pb2, chaincode_shim_pb2, proposal_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage
from fabric_protos.peer.proposal_response_pb2 import Response as ResponseProto
from google.protobuf.message import DecodeError

from goldengrain.chaincode.shim import keys, queries
from goldengrain.chaincode.shim.errors import InvalidArgument, PeerRefused
from goldengrain.chaincode.shim.exchange import Exchange
from goldengrain.chaincode.shim.identity import ClientIdentity
from goldengrain.chaincode.shim.proposal import ProposalView, Timestamp
from goldengrain.chaincode.shim.queries import KV, KeyModification, Page, QueryIterator
from goldengrain.chaincode.shim.responses import Response
from goldengrain.chaincode.shim.state import PrivateData, StateSpace
from goldengrain.chaincode.shim.writes import WriteBuffer


class ChaincodeStub:
    """One transaction. All that awaits talks to the peer; calls of one transaction take their turns.

    Reads see committed state only. Writes are kept and sent after the chaincode has answered with a status below
    400; the peer's objections to a write (an unknown collection, say) therefore come then, and fail the transaction.

    Attributes:
        args: all arguments, the function's name first.
        event: what `set_event` set.

    """

    def __init__(
        self,
        exchange: Exchange,
        chaincode_input: chaincode_pb2.ChaincodeInput,
        signed_proposal: proposal_pb2.SignedProposal | None,
    ) -> None:
        self._exchange = exchange
        self._writes = WriteBuffer()
        self._state = StateSpace(exchange, self._writes)
        self._input = chaincode_input
        self._proposal = ProposalView(signed_proposal)
        self.args: tuple[bytes, ...] = tuple(chaincode_input.args)
        self.event: chaincode_event_pb2.ChaincodeEvent | None = None

    @classmethod
    def from_message(cls, message: ChaincodeMessage, exchange: Exchange) -> "ChaincodeStub":
        """From the peer's TRANSACTION or INIT. Raises InvalidArgument."""
        try:
            chaincode_input = chaincode_pb2.ChaincodeInput.FromString(message.payload)
        except DecodeError as error:
            raise InvalidArgument("the chaincode input is malformed") from error
        return cls(exchange, chaincode_input, message.proposal if message.HasField("proposal") else None)

    # The transaction

    @property
    def channel_id(self) -> str:
        """The channel's name."""
        return self._exchange.channel_id

    @property
    def tx_id(self) -> str:
        """The transaction id: 64 hexadecimal digits."""
        return self._exchange.tx_id

    @property
    def function(self) -> str:
        """The first argument as text; empty if there is none. Raises InvalidArgument if it is not UTF-8."""
        return _text(self.args[0]) if self.args else ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """The arguments after the first as text. Raises InvalidArgument if one is not UTF-8."""
        return tuple(_text(argument) for argument in self.args[1:])

    @property
    def is_init(self) -> bool:
        """Whether the client called it as initialisation."""
        return self._input.is_init

    @property
    def transient(self) -> Mapping[str, bytes]:
        """Transient data: seen by endorsers only, recorded nowhere."""
        return self._proposal.transient

    @property
    def decorations(self) -> Mapping[str, bytes]:
        """What the peer's decorators added."""
        return self._input.decorations

    @property
    def timestamp(self) -> Timestamp:
        """The client's time (seconds, nanos): the same for all endorsers."""
        return self._proposal.timestamp

    @property
    def creator(self) -> bytes:
        """The sender as a `msp.SerializedIdentity`."""
        return self._proposal.signature_header.creator

    @cached_property
    def identity(self) -> ClientIdentity:
        """The sender, opened: organisation, certificate, attributes."""
        return ClientIdentity.from_bytes(self.creator)

    @property
    def signed_proposal(self) -> proposal_pb2.SignedProposal | None:
        """The proposal and the client's signature over it."""
        return self._proposal.signed

    @property
    def channel_header(self) -> common_pb2.ChannelHeader:
        """The proposal's channel header. In a call from another channel it names that one."""
        return self._proposal.channel_header

    @property
    def binding(self) -> bytes:
        """32 bytes that tie other data to this proposal (nonce, creator, epoch)."""
        return self._proposal.binding

    # Public state

    async def get_state(self, key: str) -> bytes | None:
        """Read the committed value; None if there is none. Raises InvalidKey."""
        return await self._state.get(key)

    async def get_states(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read committed values in the keys' order, in one round trip where the peer offers it. Raises InvalidKey."""
        return await self._state.get_many(keys)

    async def put_state(self, key: str, value: bytes) -> None:
        """Write. Raises InvalidKey, and InvalidArgument for an empty value: Fabric would take it for a delete."""
        await self._state.put(key, value)

    async def del_state(self, key: str) -> None:
        """Delete a key, which need not exist. Raises InvalidKey."""
        await self._state.delete(key)

    def range(self, start: str = "", end: str = "") -> QueryIterator[KV]:
        """Read simple keys from `start` (included) to `end` (not included); empty is open. Raises InvalidKey.

        Checked again at commit: a key that appears in the range meanwhile makes the transaction invalid.
        """
        return self._state.range(start, end)

    async def range_page(self, start: str, end: str, page_size: int, bookmark: str = "") -> Page:
        """Read a page of `range`. Raises InvalidKey, InvalidArgument; PeerRefused if the transaction writes too."""
        return await self._page(*keys.check_range(start, end), page_size, bookmark)

    def range_composite(self, object_type: str, attributes: Sequence[str] = ()) -> QueryIterator[KV]:
        """Read composite keys that begin with these parts. Raises InvalidKey."""
        return self._state.range_composite(object_type, attributes)

    async def range_composite_page(
        self, object_type: str, attributes: Sequence[str], page_size: int, bookmark: str = ""
    ) -> Page:
        """Read a page of `range_composite`; like `range_page`."""
        return await self._page(*keys.composite_range(object_type, attributes), page_size, bookmark)

    def range_all_composite(self) -> QueryIterator[KV]:
        """Read all composite keys, whatever their object type."""
        return self._state.range_all_composite()

    async def range_all_composite_page(self, page_size: int, bookmark: str = "") -> Page:
        """Read a page of `range_all_composite`; like `range_page`."""
        return await self._page(*keys.all_composite_range(), page_size, bookmark)

    def query(self, query: str) -> QueryIterator[KV]:
        """Run a rich query, on peers that have CouchDB. Not checked again at commit: never base a write on it."""
        return self._state.query(query)

    async def query_page(self, query: str, page_size: int, bookmark: str = "") -> Page:
        """Read a page of a rich query; its bookmark is CouchDB's own, to be handed back as it is."""
        queries.check_query(query)
        metadata = queries.page_metadata(page_size, bookmark)
        request = chaincode_shim_pb2.GetQueryResult(query=query, metadata=metadata)
        return await queries.ask_page(self._exchange, ChaincodeMessage.GET_QUERY_RESULT, request.SerializeToString())

    def history(self, key: str) -> QueryIterator[KeyModification]:
        """Read committed changes of a key, newest first, where the peer keeps history. Never base a write on it."""
        request = chaincode_shim_pb2.GetHistoryForKey(key=keys.check_key(key)).SerializeToString()
        return QueryIterator(
            self._exchange,
            lambda: queries.ask(self._exchange, ChaincodeMessage.GET_HISTORY_FOR_KEY, request),
            queries.decode_modification,
        )

    async def metadata(self, key: str) -> dict[str, bytes]:
        """Read a key's committed metadata by name."""
        return await self._state.metadata(key)

    async def validation_parameter(self, key: str) -> bytes | None:
        """Read a key's own endorsement policy; None if the chaincode's applies."""
        return await self._state.validation_parameter(key)

    async def set_validation_parameter(self, key: str, policy: bytes) -> None:
        """Give a key its own endorsement policy; see `key_policies.signed_by`. Raises InvalidKey, InvalidArgument."""
        await self._state.set_validation_parameter(key, policy)

    @staticmethod
    def composite_key(object_type: str, attributes: Sequence[str] = ()) -> str:
        """Make a composite key in Fabric's format. Raises InvalidKey."""
        return keys.composite_key(object_type, attributes)

    @staticmethod
    def split_composite_key(key: str) -> tuple[str, list[str]]:
        """Split a composite key into object type and attributes. Raises InvalidKey."""
        return keys.split_composite_key(key)

    def private_data(self, collection: str) -> PrivateData:
        """Open a private data collection. Raises InvalidArgument for a name that no collection can have."""
        return PrivateData(self._exchange, self._writes, collection)

    def organization_data(self, msp_id: str) -> PrivateData:
        """Open the collection that an organisation has for itself (`_implicit_org_<MSP id>`), which nobody defines.

        Every peer takes writes and reads hashes, only the organisation's own has the values.
        """
        return PrivateData(self._exchange, self._writes, keys.implicit_collection(msp_id))

    # Events and other chaincodes

    def set_event(self, name: str, payload: bytes = b"") -> None:
        """Set the transaction's event (the last one counts). Delivered if the transaction commits as valid.

        Raises InvalidArgument without a name. An event set by a chaincode that another one called is dropped.
        """
        if not name:
            raise InvalidArgument("an event needs a name")
        self.event = chaincode_event_pb2.ChaincodeEvent(tx_id=self.tx_id, event_name=name, payload=payload)

    async def invoke_chaincode(self, name: str, args: Sequence[bytes], channel: str = "") -> Response:
        """Call another chaincode on the same peers, in the same transaction; its answer, refusals included.

        On this channel its reads and writes join this transaction's, even where it answers with an error (callees on
        this shim write nothing then); on another channel it only reads. Raises PeerRefused if it cannot be called.
        """
        if not name or "/" in name:
            raise InvalidArgument("invoke_chaincode needs a chaincode's name; the channel is an argument of its own")
        spec = chaincode_pb2.ChaincodeSpec(
            chaincode_id=chaincode_pb2.ChaincodeID(name=f"{name}/{channel}" if channel else name),
            input=chaincode_pb2.ChaincodeInput(args=args),
        )
        reply = await self._exchange.request(ChaincodeMessage.INVOKE_CHAINCODE, spec.SerializeToString())
        answer = ChaincodeMessage.FromString(reply)
        if answer.type != ChaincodeMessage.COMPLETED:
            raise PeerRefused(f"{name} failed: {answer.payload.decode(errors='replace')}")
        return Response.from_proto(ResponseProto.FromString(answer.payload))

    @property
    def writes(self) -> int:
        """How many writes are kept, to be sent when the chaincode has answered."""
        return len(self._writes)

    async def flush_writes(self) -> None:
        """Send the writes that are kept. The shim does it by itself; before that only to see the peer's objections."""
        await self._writes.flush(self._exchange)

    async def _page(self, start: str, end: str, page_size: int, bookmark: str) -> Page:
        metadata = queries.page_metadata(page_size, bookmark)
        request = chaincode_shim_pb2.GetStateByRange(startKey=start, endKey=end, metadata=metadata)
        page = await queries.ask_page(self._exchange, ChaincodeMessage.GET_STATE_BY_RANGE, request.SerializeToString())
        # After the last page peers with LevelDB give no bookmark, those with CouchDB the range's end in JSON's escapes,
        # which sort behind it (Fabric: statecouchdb, readDocRange). A next page's first key is before the end.
        return page._replace(bookmark="") if end and page.bookmark >= end else page


def _text(argument: bytes) -> str:
    try:
        return argument.decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument("an argument is not UTF-8 text: read it from `args`") from error
