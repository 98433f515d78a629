# count_user.py for Python 3: the same output. The call is the same; only the print differs.
#
# Run by Python 3 with PYTHONPATH at src/sdk/python:
#     py3_count_user.py [user]

import sys

import system

user = sys.argv[1] if len(sys.argv) > 1 else "billy"

print("%d sessions belong to %s" % (len(system.perspective.getSessionInfo(user)), user))
