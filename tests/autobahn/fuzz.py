"""Runs the Autobahn fuzzing client against an echo server. For CPython 2.7, the only Python that the test suite knows.

    python2.7 fuzz.py SITE_DIR WS_URL OUT_DIR CASES...

SITE_DIR is where pip installed autobahntestsuite (`pip install --target`). A case is one id or a pattern, `1.*`; with a
minus in front, `-12.*`, it is left out. OUT_DIR gets index.json, for compare.py, and a page for each case, for people.
"""

import os
import site
import sys
import threading

TIME_LIMIT_S = 900

site_dir, url, out_dir = sys.argv[1:4]
patterns = sys.argv[4:]

# First in the path, before whatever this Python has of its own. The packages of zope.interface are joined by a .pth
# file, which only addsitedir reads.
sys.path.insert(0, site_dir)
site.addsitedir(site_dir)

from autobahntestsuite import choosereactor  # before the reactor is imported by anything else
from autobahntestsuite.fuzzing import FuzzingClientFactory
from twisted.internet import reactor


def give_up(reason):
    sys.stdout.flush()
    sys.stderr.write("fuzz.py: %s\n" % reason)
    os._exit(1)


def end_with_stdin():
    """No run outlives the test that started it."""
    while sys.stdin.read(1):
        pass
    give_up("stdin was closed")


watch = threading.Thread(target=end_with_stdin)
watch.daemon = True
watch.start()
reactor.callLater(TIME_LIMIT_S, give_up, "not done after %d s" % TIME_LIMIT_S)

factory = FuzzingClientFactory({
    "outdir": out_dir,
    # The agent's name is the key of the results; without it, the Server header would be.
    "servers": [{"agent": "headcount", "url": url}],
    "cases": [p for p in patterns if not p.startswith("-")],
    "exclude-cases": [p[1:] for p in patterns if p.startswith("-")],
})
reactor.run()
if not factory.agents:
    give_up("no case could be run")
