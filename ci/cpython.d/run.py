"""Runs modules of CPython's own regression tests and writes one line for each test: its name, result and reason."""

import os
import sys
import tempfile
import unittest

import test.support

MODULES = "test_os test_subprocess test_threading test_socket test_mmap test_signal test_tempfile test_json test_re"


class Result(unittest.TestResult):
    """Keeps the worst result of each test."""

    ORDER = ["ok", "skipped", "expected failure", "unexpected success", "failed", "error"]

    def __init__(self):
        super().__init__()
        self.found = {}

    def note(self, test, what, why=""):
        name = test.id().split(" ")[0]
        before = self.found.get(name, ("ok", ""))
        why = " ".join(str(why).split())[:200]
        self.found[name] = max(before, (what, why), key=lambda found: self.ORDER.index(found[0]))

    def addSuccess(self, test):
        self.note(test, "ok")

    def addSkip(self, test, reason):
        # A skipped subtest counts for its test.
        self.note(getattr(test, "test_case", test), "skipped", reason)

    def addExpectedFailure(self, test, error):
        self.note(test, "expected failure")

    def addUnexpectedSuccess(self, test):
        self.note(test, "unexpected success")

    def addFailure(self, test, error):
        self.note(test, "failed", error[1])

    def addError(self, test, error):
        self.note(test, "error", error[1])

    def addSubTest(self, test, part, error):
        if error is not None:
            self.note(test, "failed", error[1])


def main(path):
    # Without tests that need a network, much memory or much time.
    test.support.use_resources = []
    result = Result()
    suite = unittest.defaultTestLoader.loadTestsFromNames("test." + name for name in MODULES.split())
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        suite.run(result)
        os.chdir("/")
    with open(path, "w") as file:
        for name, (what, why) in sorted(result.found.items()):
            print(name, what, why, sep="\t", file=file)


main(sys.argv[1])
