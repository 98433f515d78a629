# How many sessions one user has. A script as engineers write it, with Python 2's print statement.
#
# Run by jython (JYTHONPATH) or Python 2.7 (PYTHONPATH) with the path at src/sdk/python:
#     count_user.py [user]

import sys

import system

user = sys.argv[1] if len(sys.argv) > 1 else "billy"

print "%d sessions belong to %s" % (len(system.perspective.getSessionInfo(user)), user)
