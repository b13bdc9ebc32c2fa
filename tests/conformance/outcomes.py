"""Runs modules of CPython's own test suite and prints one TAP line per test, sorted by name."""
import os
import sys
import unittest

import test.support

# Tests that load the machine, need a network or take minutes are left out, as regrtest does unless told.
test.support.use_resources = []
test.support.verbose = 0


def child_processes():
    """The processes that multiprocessing started, without reaping those that ended."""
    process = sys.modules.get("multiprocessing.process")
    return set(process._children) if process else set()


class Outcomes(unittest.TestResult):
    """Collects outcome and name of every test."""

    def __init__(self):
        super().__init__()
        self.lines = {}

    def startTest(self, test_case):
        super().startTest(test_case)
        self.before = child_processes()

    def stopTest(self, test_case):
        super().stopTest(test_case)
        if self.lines.get(test_case.id()) in ("ERROR", "FAIL"):
            # A failed test may leave processes for which the end of its module would wait for ever.
            for child in child_processes() - self.before:
                child.kill()

    def note(self, test_case, outcome):
        self.lines[test_case.id()] = outcome

    def addSuccess(self, test_case):
        self.lines.setdefault(test_case.id(), "ok")

    def addError(self, test_case, err):
        self.note(test_case, "ERROR")
        super().addError(test_case, err)

    def addFailure(self, test_case, err):
        self.note(test_case, "FAIL")
        super().addFailure(test_case, err)

    def addSkip(self, test_case, reason):
        self.note(test_case, "skipped")

    def addExpectedFailure(self, test_case, err):
        self.note(test_case, "expected failure")

    def addUnexpectedSuccess(self, test_case):
        self.note(test_case, "unexpected success")

    def addSubTest(self, test_case, subtest, err):
        if err is not None:
            self.note(test_case, "FAIL")
            super().addSubTest(test_case, subtest, err)


FORMS = {"ok": "ok {}", "skipped": "ok {} # SKIP", "expected failure": "not ok {} # XFAIL"}


def main():
    result = Outcomes()
    quiet = os.open(os.devnull, os.O_WRONLY)
    output = os.dup(1)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    for module in sys.argv[1:]:
        unittest.defaultTestLoader.loadTestsFromName(module)(result)
    with open(output, "w", encoding="utf-8") as file:
        for number, (name, outcome) in enumerate(sorted(result.lines.items()), 1):
            print(FORMS.get(outcome, "not ok {}").format(f"{number} - {name}"), file=file)
        if os.environ.get("REASONS"):
            for _, reason in result.errors + result.failures:
                print(reason, file=file)


# Processes that multiprocessing spawns import this file again.
if __name__ == "__main__":
    main()
