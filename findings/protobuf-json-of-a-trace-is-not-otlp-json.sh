#!/usr/bin/env bash
# protobuf 6.33.6 with opentelemetry-proto 1.39.1 (PyPI): protobuf's JSON form of a trace is not OTLP/JSON, and reading
# OTLP/JSON with it gives wrong ids without an error.
#
# Expected: `MessageToJson` and `Parse` of the official message type read and write the official JSON form.
# Seen: OTLP/JSON writes trace ids in hexadecimal, protobuf writes bytes in base64. A hexadecimal id of 16 bytes is also
# valid base64, so `Parse` accepts it and returns an id of 24 bytes. Enum values are written as names, where OTLP/JSON
# requires integers.
# Consequence: encode and decode ids yourself, and check their length after reading.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check protobuf==6.33.6 opentelemetry-proto==1.39.1
"$scratch/venv/bin/python" - <<'PYTHON'
import json
import sys

from google.protobuf.json_format import MessageToJson, Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"

request = ExportTraceServiceRequest()
span = request.resource_spans.add().scope_spans.add().spans.add()
span.trace_id, span.span_id, span.name, span.kind = bytes.fromhex(TRACE), bytes.fromhex(SPAN), "work", 2
written = json.loads(MessageToJson(request))["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
print("written by protobuf:", written["traceId"], written["kind"])

otlp = {"traceId": TRACE, "spanId": SPAN, "name": "work", "kind": 2}
text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [otlp]}]}]})
read = Parse(text, ExportTraceServiceRequest()).resource_spans[0].scope_spans[0].spans[0]
print("read from OTLP/JSON:", read.trace_id.hex(), f"({len(read.trace_id)} bytes)")

if written["traceId"] == TRACE or written["kind"] == 2 or (len(read.trace_id), len(read.span_id)) != (24, 12):
    sys.exit("CHANGED")
PYTHON
