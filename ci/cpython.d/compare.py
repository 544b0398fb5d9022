"""Compares two results of `run.py`. What differs must be in the reviewed list, for the cause that the list gives; and what
is in the list must differ.

usage: compare.py OUTSIDE INSIDE REVIEWED
"""

import fnmatch
import sys


def results(path):
    with open(path) as file:
        rows = (line.rstrip("\n").split("\t") for line in file)
        return {name: (what, why) for name, what, why in rows}


def reviewed(path):
    """`PATTERN | CAUSE`: which tests, and a part of what they say of it inside, or outside where they say nothing inside."""
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
            print(f"not in the reviewed list: {name}: {out} outside ({why_out}), {within} inside ({why})")
    for pattern, cause in [row for row in known if row not in used]:
        print(f"in the reviewed list, and nothing differs: {pattern} | {cause}")
    print(f"{len(names)} tests, {len(names) - differ} the same inside as outside, {differ - unknown} reviewed")
    return 1 if unknown or len(used) < len(known) else 0


sys.exit(main(*sys.argv[1:]))
