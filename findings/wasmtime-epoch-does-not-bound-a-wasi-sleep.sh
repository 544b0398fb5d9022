#!/usr/bin/env bash
# wasmtime 50.0.1 (PyPI): an expired epoch deadline does not end a guest that sleeps in WASI, and may never be noticed.
#
# Expected: with `epoch_interruption` and a deadline that expires after 0.3 s, a guest that sleeps for 3 s traps.
# Seen: epochs are checked at function entries and loop headers of the guest only. `poll_oneoff` sleeps in the host for
# its whole 3 s, and because the guest returns right after it, the call ends as a success: no trap at all.
# Consequence: a wall limit needs a host-side bound on every blocking import, and a second look at the clock when the
# guest has returned.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check wasmtime==50.0.1
"$scratch/venv/bin/python" - <<'PYTHON'
import sys
import threading
import time

import wasmtime

SLEEP = """(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (i32.store (i32.const 16) (i32.const 1))          ;; clock: monotonic
    (i64.store (i32.const 24) (i64.const 3000000000)) ;; timeout: 3 s
    (drop (call $poll (i32.const 0) (i32.const 200) (i32.const 1) (i32.const 300)))))"""
SPIN = '(module (memory (export "memory") 1) (func (export "_start") (loop (br 0))))'


def run(text):
    config = wasmtime.Config()
    config.epoch_interruption = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(1)
    store.set_wasi(wasmtime.WasiConfig())
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    start = linker.instantiate(store, wasmtime.Module(engine, text)).exports(store)["_start"]
    threading.Timer(0.3, engine.increment_epoch).start()
    begin = time.monotonic()
    try:
        start(store)
        ending = "returned"
    except wasmtime.Trap:
        ending = "trapped"
    return ending, time.monotonic() - begin


spin, sleep = run(SPIN), run(SLEEP)
print(f"loop:  {spin[0]} after {spin[1]:.1f} s")
print(f"sleep: {sleep[0]} after {sleep[1]:.1f} s")
if not (spin[0] == "trapped" and spin[1] < 2.5 and sleep[0] == "returned" and sleep[1] > 2.5):
    sys.exit("CHANGED")
PYTHON
