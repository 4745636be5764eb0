"""A small caching service on 127.0.0.1: the API of Intel's PCCS, under a development root."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.enclave.quoting import DevelopmentRoot


class Service:
    """What it gives now, and how it misbehaves: `wrong` maps a path's beginning to (status, body)."""

    def __init__(self, root: DevelopmentRoot, at: int, fmspc: bytes) -> None:
        self.root, self.at, self.fmspc = root, at, fmspc
        self.evaluation, self.hex_lists = 17, True
        self.wrong: dict[str, tuple[int, bytes]] = {}
        self.without: set[str] = set()
        self.requests: list[str] = []
        self.url = ""

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        parts = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        kind, name = parts.path.strip("/").split("/certification/v4/")
        self.requests.append(f"{kind}/{name}")
        for start, (status, body) in self.wrong.items():
            if name.startswith(start):
                return status, body, {}
        if name == "tcb" and query["fmspc"] != self.fmspc.hex().upper():
            return 404, b"", {}
        tee = Tee(kind.upper())
        made = json.loads(self.root.collateral(at=self.at, fmspc=self.fmspc, tee=tee, evaluation=self.evaluation))
        if name == "tcb":
            body = f'{{"tcbInfo":{made["tcb_info"]},"signature":"{made["tcb_info_signature"]}"}}'.encode()
            return 200, body, {"TCB-Info-Issuer-Chain": made["tcb_info_issuer_chain"]}
        if name == "qe/identity":
            signature = made["qe_identity_signature"]
            body = f'{{ "signature" : "{signature}", "enclaveIdentity" :{made["qe_identity"]} }}'.encode()
            return 200, body, {"SGX-Enclave-Identity-Issuer-Chain": made["qe_identity_issuer_chain"]}
        field = {"pckcrl": "pck_crl", "rootcacrl": "root_ca_crl"}[name]
        body = made[field].encode() if self.hex_lists else bytes.fromhex(made[field])
        headers = {"SGX-PCK-CRL-Issuer-Chain": made["pck_crl_issuer_chain"]} if name == "pckcrl" else {}
        return 200, body, headers


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = service.answer(self.path)
            self.send_response(status)
            for name, value in headers.items():
                if name not in service.without:
                    self.send_header(name, urllib.parse.quote(value))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        service.url = f"http://127.0.0.1:{server.server_port}"
        yield service
        server.shutdown()
        thread.join(10)
