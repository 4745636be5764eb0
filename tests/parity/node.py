"""A node that knows one state, over JSON-RPC: what an EVM needs to begin a transaction with nothing touched yet.

    python -m tests.parity.node          # prints its port; state_set replaces the state

Run as a process of its own, since an EVM that waits for an answer holds its process.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Account = dict[str, Any]
"""`balance`, `nonce`, `code` (hex with 0x) and `storage`, words by slot, both as decimal text."""

STATE: dict[str, Account] = {}


def answer(method: str, parameters: list[Any]) -> Any:
    """Answer one question about the state; raises `KeyError` for methods that no EVM asks for."""
    if method == "state_set":
        STATE.clear()
        STATE.update(parameters[0])
        return True
    if method == "eth_blockNumber":
        return "0x1"
    account = STATE.get(parameters[0].lower(), {})
    if method == "eth_getStorageAt":
        value = account.get("storage", {}).get(str(int(parameters[1], 16)), "0")
        return f"0x{int(value):064x}"
    return {
        "eth_getBalance": hex(int(account.get("balance", 0))),
        "eth_getTransactionCount": hex(int(account.get("nonce", 0))),
        "eth_getCode": account.get("code", "0x"),
    }[method]


class Handler(BaseHTTPRequestHandler):
    """JSON-RPC over HTTP, connections kept open."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        result = answer(request["method"], request.get("params") or [])
        body = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until the process is ended."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
