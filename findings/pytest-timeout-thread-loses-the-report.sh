#!/usr/bin/env bash
# pytest 9.0.2 with pytest-timeout 2.4.0 (PyPI): with the method `thread`, one slow test removes the results of all.
#
# Expected: a timeout fails one test; the others run, and the JUnit report lists all of them.
# Seen: the method `signal` does that. The method `thread` (used where SIGALRM is unavailable or taken) ends the whole
# process: later tests do not run, no JUnit report is written, and the exit status is 1, the status for "some tests
# failed".
# Consequence: a grader that reads exit status 1 as "tests ran" must also require the report.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check pytest==9.0.2 pytest-timeout==2.4.0
cat >"$scratch/test_probe.py" <<'PYTHON'
import time


def test_before():
    pass


def test_slow():
    time.sleep(20)


def test_after():
    pass
PYTHON
cd "$scratch"
seen=""
for method in signal thread; do
    status=0
    venv/bin/python -m pytest -q -p no:cacheprovider --timeout 1 --timeout-method "$method" \
        --junitxml "$method.xml" >"$method.log" 2>&1 || status=$?
    cases=$(grep -o '<testcase ' "$method.xml" 2>/dev/null | wc -l || true)
    echo "$method: exit status $status, $cases test cases in the report"
    seen+="$method/$status/$cases "
done
[[ $seen == "signal/1/3 thread/1/0 " ]] || { echo CHANGED; exit 1; }
