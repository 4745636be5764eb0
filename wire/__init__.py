"""gRPC's message streams over HTTP/2 on asyncio, for streams that carry many small messages.

A chaincode talks to its peer over one bidirectional stream with several messages a transaction. gRPC's own Python
library spends most of such a chaincode's time on them; here the messages that one turn of the event loop reads or
writes share one system call (ADR 0054 has the figures). HTTP/2 itself is the `h2` library's; what is here is what gRPC
adds to it (gRPC over HTTP2, the protocol's specification), and it interoperates with gRPC's own libraries.

    stream = await open_stream("127.0.0.1", 9999, "/protos.Chaincode/Connect")
    stream.send(b"…")
    async for message in stream: …

`StreamServer` is the other side. `Caller` makes unary calls at a fraction of what gRPC's library takes for one (ADR
0080). Messages are bytes: whoever uses a stream knows their types.
"""

from goldengrain.wire.calls import Caller
from goldengrain.wire.client import open_stream
from goldengrain.wire.errors import CallFailed, Status, StreamFailed, WireError
from goldengrain.wire.server import StreamServer
from goldengrain.wire.stream import MAX_MESSAGE_BYTES, Stream

__all__ = [
    "MAX_MESSAGE_BYTES",
    "CallFailed",
    "Caller",
    "Status",
    "Stream",
    "StreamFailed",
    "StreamServer",
    "WireError",
    "open_stream",
]
