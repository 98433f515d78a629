"""Compares a run of fuzz.py with what is expected of headcount, which is in expected.json beside this file.

    python3 compare.py OUT_DIR CASES...            the cases given to fuzz.py: none of them may be missing or worse
    python3 compare.py --write OUT_DIR [OUT_DIR...]  makes expected.json of these runs

Prints each difference and a summary; exits with 1 if a case is missing, unknown or worse than expected.
"""

import fnmatch
import json
import os
import sys

EXPECTED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expected.json")
# Best first. INFORMATIONAL is Autobahn's verdict where RFC 6455 leaves the choice.
VERDICTS = ["OK", "INFORMATIONAL", "NON-STRICT", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "UNIMPLEMENTED", "FAILED"]


def main(arguments):
    if arguments[0] == "--write":
        return write(arguments[1:])
    return compare(arguments[0], arguments[1:])


def write(out_dirs):
    cases = {}
    for out_dir in out_dirs:
        cases.update(results(out_dir))
    lines = ["  %s: %s" % (json.dumps(case), json.dumps(cases[case])) for case in sorted(cases, key=in_order)]
    with open(EXPECTED, "w") as file:
        file.write("{\n%s\n}\n" % ",\n".join(lines))
    print("%d cases written" % len(lines))
    return 0


def compare(out_dir, patterns):
    with open(EXPECTED) as file:
        expected = {case: verdict for case, verdict in json.load(file).items() if selected(case, patterns)}
    found = results(out_dir)

    bad = better = 0
    for case in sorted(set(expected) | set(found), key=in_order):
        if case not in found:
            difference, is_bad = "missing, expected %s" % say(expected[case]), True
        elif case not in expected:
            difference, is_bad = "%s, not expected at all" % say(found[case]), True
        elif found[case] != expected[case]:
            difference, is_bad = "%s, expected %s" % (say(found[case]), say(expected[case])), worse(found[case], expected[case])
        else:
            continue
        print("%s %s: %s" % ("BAD" if is_bad else "better", case, difference))
        bad += is_bad
        better += not is_bad

    print("autobahn: %d cases expected, %d run, %d bad, %d better than expected" % (len(expected), len(found), bad, better))
    return 1 if bad or not expected else 0


def results(out_dir):
    """The verdicts of one run: case -> {behavior, behaviorClose}."""
    with open(os.path.join(out_dir, "index.json")) as file:
        agents = json.load(file)
    return {
        case: {key: result[key] for key in ("behavior", "behaviorClose")}
        for cases in agents.values() for case, result in cases.items()
    }


def selected(case, patterns):
    """Whether fuzz.py runs the case, given these patterns."""
    wanted = [p for p in patterns if not p.startswith("-")]
    unwanted = [p[1:] for p in patterns if p.startswith("-")]
    return any(fnmatch.fnmatch(case, p) for p in wanted) and not any(fnmatch.fnmatch(case, p) for p in unwanted)


def worse(verdict, than):
    return any(rank(verdict[key]) > rank(than[key]) for key in than)


def rank(verdict):
    return VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)


def say(verdict):
    return "%(behavior)s (close: %(behaviorClose)s)" % verdict


def in_order(case):
    return [int(part) for part in case.split(".")]


sys.exit(main(sys.argv[1:]))
