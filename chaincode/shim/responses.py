"""What a chaincode answers."""

from dataclasses import dataclass

from fabric_protos.peer import proposal_response_pb2

OK = 200
ERROR_THRESHOLD = 400
ERROR = 500


@dataclass(frozen=True, slots=True)
class Response:
    """A chaincode's answer. Peers endorse 200 to 399; anything else reaches the client as an error, without payload."""

    status: int = OK
    message: str = ""
    payload: bytes = b""

    @property
    def endorsable(self) -> bool:
        """Whether a peer would sign it: a status below 400. The Gateway also turns away those below 200."""
        return self.status < ERROR_THRESHOLD

    def to_proto(self) -> proposal_response_pb2.Response:
        """As `protos.Response`. Raises ValueError or TypeError where a field does not fit."""
        return proposal_response_pb2.Response(status=self.status, message=self.message, payload=self.payload)

    @classmethod
    def from_proto(cls, message: proposal_response_pb2.Response) -> "Response":
        """From `protos.Response`."""
        return cls(message.status, message.message, message.payload)


def success(payload: bytes = b"") -> Response:
    """Status 200 with a payload."""
    return Response(OK, "", payload)


def error(message: str, status: int = ERROR) -> Response:
    """Refuse: nothing of the transaction is endorsed; the client sees `chaincode response <status>, <message>`."""
    return Response(status, message)
