"""A receiver of webhooks in a process of its own: it verifies each message and writes a line for each that it counted.

`python -m tests.flows.receiver PORT FILE SECRET [die]`; with `die` it ends after it counted a message, and before it answered.
"""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


def main(port: int, file: str, secret: str, die: bool) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                what = Webhook(secret).verify(body, dict(self.headers))["type"]
            except WebhookVerificationError as error:
                what = f"unverified: {error}"
            with open(file, "a", encoding="utf-8") as out:
                out.write(json.dumps([self.headers["webhook-id"], what]) + "\n")
            if die:
                os._exit(9)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:] == ["die"])
