"""Compares the verdicts of two batches of HumanEval: `humaneval_check.py DIRECTORY`.

DIRECTORY contains right.out (the reference solutions), none.jsonl (the programs with empty bodies) and none.out (their
outcomes). Every reference solution must exit with 0; every other program must exit as in the bare interpreter.
"""

import json
import pathlib
import subprocess
import sys

directory = pathlib.Path(sys.argv[1])


def lines(name):
    return [json.loads(line) for line in (directory / name).read_text().splitlines()]


def verdicts(name):
    return {line["key"]: line["outcome"]["verdict"] for line in lines(name)}


right = verdicts("right.out")
wrong = {key: verdict for key, verdict in right.items() if verdict != {"kind": "exited", "code": 0}}
assert len(right) == 164 and not wrong, wrong
none = verdicts("none.out")
for problem in lines("none.jsonl"):
    bare = subprocess.run(["/usr/bin/python3", "-c", problem["source"]], capture_output=True)
    verdict = none[problem["key"]]
    assert verdict == {"kind": "exited", "code": bare.returncode}, (problem["key"], verdict, bare.returncode)
print(f"{len(right)} reference solutions passed, {len(none)} exited as in the bare interpreter")
