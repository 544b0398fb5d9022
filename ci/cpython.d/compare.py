"""Compares two results of `run.py`. Every difference must be in the reviewed list with its cause, and every line of the
list must match a difference.

usage: compare.py OUTSIDE INSIDE REVIEWED
"""

import fnmatch
import sys


def results(path):
    with open(path) as file:
        rows = (line.rstrip("\n").split("\t") for line in file)
        return {name: (what, why) for name, what, why in rows}


def reviewed(path):
    """Reads lines `PATTERN | CAUSE`: a pattern of test names, and a part of the message inside, or else outside."""
    with open(path) as file:
        lines = (line.strip() for line in file)
        rows = [line.split(" | ") for line in lines if line and not line.startswith("#")]
        return [(pattern, cause) for pattern, cause in rows]


def main(outside, inside, known):
    outside, inside, known = results(outside), results(inside), reviewed(known)
    missing = ("not run", "")
    used = set()
    unknown = 0
    differ = 0
    names = sorted(outside.keys() | inside.keys())
    for name in names:
        (out, why_out), (within, why) = outside.get(name, missing), inside.get(name, missing)
        if out == within:
            continue
        differ += 1
        matching = [row for row in known if fnmatch.fnmatchcase(name, row[0]) and row[1] in (why or why_out)]
        used.update(matching)
        if not matching:
            unknown += 1
            print(f"unreviewed difference: {name}: {out} outside ({why_out}), {within} inside ({why})")
    for pattern, cause in [row for row in known if row not in used]:
        print(f"reviewed line without a difference: {pattern} | {cause}")
    print(f"{len(names)} tests, {len(names) - differ} the same inside as outside, {differ - unknown} reviewed")
    return 1 if unknown or len(used) < len(known) else 0


sys.exit(main(*sys.argv[1:]))
