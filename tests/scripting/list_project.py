# Who is in one project, and for how long, in milliseconds. Python 2's print statement again.
#
# Run by jython (JYTHONPATH) or Python 2.7 (PYTHONPATH) with the path at src/sdk/python:
#     list_project.py [project]

import sys

import system

project = sys.argv[1] if len(sys.argv) > 1 else "demo"

for index, session in enumerate(system.perspective.getSessionInfo(projectFilter=project)):
    print index + 1, session["username"], session["uptime"], "ms"
