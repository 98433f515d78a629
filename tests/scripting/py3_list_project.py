# list_project.py for Python 3: the same output. The call is the same; only the print differs.
#
# Run by Python 3 with PYTHONPATH at src/sdk/python:
#     py3_list_project.py [project]

import sys

import system

project = sys.argv[1] if len(sys.argv) > 1 else "demo"

for index, session in enumerate(system.perspective.getSessionInfo(projectFilter=project)):
    print(index + 1, session["username"], session["uptime"], "ms")
