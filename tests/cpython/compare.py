"""Compares two results of `run.py`; what differs must be in the reviewed list, and what is there must differ.

usage: compare.py OUTSIDE INSIDE REVIEWED
"""

import fnmatch
import sys


def results(path):
    with open(path) as file:
        return dict(line.rstrip("\n").split(" ", 1) for line in file)


def reviewed(path):
    """Patterns of names; a comment above them says why. `?` marks those that need not differ on every host."""
    with open(path) as file:
        lines = (line.strip() for line in file)
        return [line for line in lines if line and not line.startswith("#")]


def main(outside, inside, known):
    outside, inside, known = results(outside), results(inside), reviewed(known)
    names = sorted(outside.keys() | inside.keys())
    differ = {name: (outside.get(name, "not run"), inside.get(name, "not run")) for name in names}
    differ = {name: pair for name, pair in differ.items() if pair[0] != pair[1]}
    patterns = {pattern.rstrip("?").strip(): pattern.endswith("?") for pattern in known}
    unknown = {n: p for n, p in differ.items() if not any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns)}
    for name, (out, within) in unknown.items():
        print(f"{name}: {out} outside, {within} inside, and not in the reviewed list")
    stale = [p for p, may in patterns.items() if not may and not fnmatch.filter(differ, p)]
    for pattern in stale:
        print(f"{pattern}: in the reviewed list, and nothing differs")
    print(f"{len(names)} tests, {len(names) - len(differ)} the same inside as outside, {len(differ)} reviewed")
    return 1 if unknown or stale else 0


sys.exit(main(*sys.argv[1:]))
