#!/usr/bin/env bash
# opentelemetry-sdk 1.39.1 (PyPI): `force_flush()` returns True although no span was delivered.
#
# Expected: True means that the spans ended so far were exported; a failing exporter or a full queue gives False.
# Seen: it returns True if every export returns FAILURE, if every export raises, and if most spans were dropped because
# the queue of 2,048 was full: of 10,000 spans, fewer than 9,000 reach an exporter that takes 200 ms per batch.
# After `shutdown()` new spans still have `is_recording() == True` and go nowhere.
# Consequence: a test that flushes and checks the result proves nothing; count the spans at the receiving end.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check opentelemetry-sdk==1.39.1
"$scratch/venv/bin/python" - <<'PYTHON'
import logging
import sys
import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

logging.disable(logging.CRITICAL)


class Exporter(SpanExporter):
    def __init__(self, action):
        self.action = action
        self.spans = 0

    def export(self, spans):
        result = self.action()
        self.spans += len(spans)
        return result


def fails():
    return SpanExportResult.FAILURE


def raises():
    raise ConnectionError("the collector is down")


def slow():
    time.sleep(0.2)
    return SpanExportResult.SUCCESS


def run(action, count):
    exporter = Exporter(action)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("probe")
    for _ in range(count):
        tracer.start_span("span").end()
    flushed = provider.force_flush()
    spans = exporter.spans
    provider.shutdown()
    late = tracer.start_span("late")
    recording = late.is_recording()
    late.end()
    return flushed, spans, recording


results = {"exporter fails": run(fails, 1), "exporter raises": run(raises, 1), "10,000 spans": run(slow, 10_000)}
for name, (flushed, spans, recording) in results.items():
    print(f"{name}: force_flush {flushed}, spans delivered {spans if 'spans' in name else 0}, recording after shutdown {recording}")
unchanged = all(flushed and recording for flushed, _, recording in results.values())
if not (unchanged and results["10,000 spans"][1] < 9_000):
    sys.exit("CHANGED")
PYTHON
