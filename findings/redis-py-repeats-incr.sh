#!/usr/bin/env bash
# redis 7.0.1 (PyPI, redis-py): one call of `incr` reaches the server up to four times.
#
# Expected: a command without idempotence that loses its reply raises an error; the caller decides about repeating it.
# Seen: since version 6 the default client retries three times with back-off after a lost connection, whatever the
# command. A server that executes INCR and then loses the connection counts 4 executions for one failed call.
# Consequence: counters, list pushes and script calls need an idempotency token, or `retry=Retry(NoBackoff(), 0)`.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check redis==7.0.1
"$scratch/venv/bin/python" - <<'PYTHON'
import socket
import sys
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

executed = 0


def connection(client):
    """Answers the handshake, executes INCR, and loses the connection before the reply."""
    global executed
    while data := client.recv(4096):
        if b"INCR" in data:
            executed += 1
            client.close()
            return
        client.sendall(b"+OK\r\n" * data.count(b"*"))


def server(listener):
    while True:
        client, _ = listener.accept()
        threading.Thread(target=connection, args=(client,), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=server, args=(listener,), daemon=True).start()
port = listener.getsockname()[1]
counts = {}
for name, options in {"default": {}, "no retry": {"retry": Retry(NoBackoff(), 0)}}.items():
    executed = 0
    try:
        redis.Redis(port=port, **options).incr("x")
        sys.exit("CHANGED: the call did not fail")
    except redis.ConnectionError:
        counts[name] = executed
print(f"redis-py {redis.__version__}: executions of one incr: {counts}")
if counts != {"default": 4, "no retry": 1}:
    sys.exit("CHANGED")
PYTHON
