# -*- coding: utf-8 -*-
"""Who is connected, asked from a script.

    import system

    print(len(system.perspective.getSessionInfo("billy")))

Put the directory above `system` on the path: PYTHONPATH for Python, JYTHONPATH for Jython.
One source for Jython 2.7, Python 2.7 and Python 3; nothing but the standard library is needed.

Settings are read from the environment at each call:

    HEADCOUNT_ADMIN    where the admin plane is: http://host:port, https://host:port, host:port,
                       or ws:// and wss:// for the same. Default: http://127.0.0.1:8081
    HEADCOUNT_ADMIN_TOKEN  an admin token with the scope `read`, where the server asks for one;
                       without the scope `pii` addresses and user agents come back masked
    HEADCOUNT_TIMEOUT  seconds that the server may stay silent. Default: 10

No proxy is used and no redirect is followed, whatever the environment says.
"""

from __future__ import absolute_import

import json
import os
import re

try:  # Python 2.7 and Jython
    import httplib as _http
    from urllib import quote

    _TEXT = basestring  # noqa: F821
except ImportError:
    import http.client as _http
    from urllib.parse import quote

    _TEXT = str

__all__ = [
    "getSessionInfo",
    "HeadcountError",
    "BadArgument",
    "BadSetting",
    "Unreachable",
    "Refused",
    "BadAnswer",
]


class HeadcountError(Exception):
    """Every error of this module. The message says what was asked of whom, and what to do."""


class BadArgument(HeadcountError, TypeError):
    """A filter is not text. Nothing was sent."""


class BadSetting(HeadcountError, ValueError):
    """A HEADCOUNT_ variable of the environment cannot be used. Nothing was sent."""


class Unreachable(HeadcountError):
    """No whole answer came: nothing listens there, the connection broke, or time ran out."""


class Refused(HeadcountError):
    """The server answered, and said no.

    status   the HTTP status, an integer
    code     the server's short name for the reason, or None if it gave none
    message  the server's own sentence, or None if it gave none
    """

    def __init__(self, text, status=None, code=None, message=None):
        HeadcountError.__init__(self, text)
        self.status = status
        self.code = code
        self.message = message


class BadAnswer(HeadcountError):
    """The answer is not a list of sessions: another kind of server is at that address."""


def getSessionInfo(usernameFilter=None, projectFilter=None):
    """Return the sessions that are live now, as a list of dicts: [] when none matches.

    usernameFilter  only sessions of this user; None or "" for every user
    projectFilter   only sessions in this project; None or "" for every project

    A filter is text and matches the whole value, case-sensitively: `*` stands for any run of
    characters, `?` for any one character, and a backslash takes the next character as it is.
    In Python 2 a byte string is taken as UTF-8.

    Each dict has these thirteen keys:

    userAgent        text      the client program, as it names itself; "" if it does not
    id               text      the session's id (a UUID), or the designer's own id
    username         text      the user, or "Unauthenticated"
    project          text      the project
    uptime           integer   milliseconds since the session began
    clientAddress    text      the client's address, without port
    lastComm         integer   milliseconds since the client was last heard
    sessionScope     text      "designer", "browser", "ios" or "android"
    activePages      integer   how many pages are open
    recentBytesSent  integer   bytes in the last message that the client sent
    totalBytesSent   integer   bytes in all messages that the client has sent
    pageIds          list      the ids of the open pages, as text, in the order opened
    authorized       boolean   whether the user's identity was verified

    Raises BadArgument (also a TypeError), BadSetting (also a ValueError), Unreachable, Refused
    or BadAnswer: each is a HeadcountError.

        for session in system.perspective.getSessionInfo(projectFilter="Plant*"):
            print("%s: %d ms" % (session["username"], session["uptime"]))
    """
    filters = _filter("usernameFilter", usernameFilter) + _filter("projectFilter", projectFilter)
    base, connection, headers = _admin_plane(os.environ)
    target = "/api/v1/session-info" + ("?" + "&".join(filters) if filters else "")
    status, body = _get(connection, target, headers, base)
    answer = _parsed(body)
    if status != 200:
        raise _refused(base + target, status, answer)
    if not _is_session_list(answer):
        raise BadAnswer(
            "%s did not answer with a list of sessions. "
            "HEADCOUNT_ADMIN must be the address of headcount's admin plane." % (base + target)
        )
    return answer


_KEYS = frozenset(
    "userAgent id username project uptime clientAddress lastComm sessionScope activePages"
    " recentBytesSent totalBytesSent pageIds authorized".split()
)

_ADDRESS = re.compile(
    r"(?:(?:http|ws)(s?)://)?"  # the scheme: all that matters is whether it is secure
    r"((?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?)/?\Z",  # host:port, [IPv6]:port
    re.IGNORECASE,
)

_WHAT_TO_DO = {
    400: "Look at the filters.",
    401: "Set HEADCOUNT_ADMIN_TOKEN to an admin token with the scope `read`.",
    403: "Set HEADCOUNT_ADMIN_TOKEN to an admin token with the scope `read`.",
    404: "HEADCOUNT_ADMIN must be the address of headcount's admin plane.",
    429: "Try again later.",
    503: "Try again later.",
}


def _filter(name, value):
    """A filter as a list of at most one percent-encoded query parameter."""
    if value is None or value == "":
        return []
    if isinstance(value, _TEXT):
        try:
            utf8 = value if isinstance(value, bytes) else value.encode("utf-8")
            utf8.decode("utf-8")  # a byte string of Python 2 may hold anything
            return [name + "=" + quote(utf8, safe="")]
        except UnicodeError:
            pass
    raise BadArgument(
        "getSessionInfo: %s must be text, or None for all, but is %.80r (%s)."
        % (name, value, type(value).__name__)
    )


def _admin_plane(environ):
    """What the environment asks for: base URL, connection (not yet open), and headers."""
    address = environ.get("HEADCOUNT_ADMIN", "").strip() or "http://127.0.0.1:8081"
    match = _ADDRESS.match(address)
    if not match or not 0 < int(match.group(3) or 80) < 65536:
        raise BadSetting("HEADCOUNT_ADMIN must be like http://127.0.0.1:8081, but is %r." % address)
    timeout = environ.get("HEADCOUNT_TIMEOUT", "").strip() or "10"
    if not re.match(r"[0-9]{1,6}(\.[0-9]+)?\Z", timeout) or float(timeout) == 0:
        raise BadSetting("HEADCOUNT_TIMEOUT must be seconds, like 10 or 2.5, but is %r." % timeout)
    headers = {"Accept": "application/json"}
    token = environ.get("HEADCOUNT_ADMIN_TOKEN", "").strip()
    if token:
        if not re.match(r"[!-~]+\Z", token):
            raise BadSetting("HEADCOUNT_ADMIN_TOKEN must be printable ASCII without spaces.")
        headers["Authorization"] = "Bearer " + token
    secure, host = match.group(1), match.group(2)
    if secure and not hasattr(_http, "HTTPSConnection"):
        raise BadSetting("HEADCOUNT_ADMIN is %r, but this Python has no TLS." % address)
    kind = _http.HTTPSConnection if secure else _http.HTTPConnection
    connection = kind(host, timeout=float(timeout))
    connection.strict = True  # or Python 2 takes any bytes for an answer in HTTP/0.9
    return ("https://" if secure else "http://") + host, connection, headers


def _get(connection, target, headers, base):
    """The status and the body of one GET."""
    try:
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    except (EnvironmentError, _http.HTTPException, UnicodeError) as error:
        reason = "%r" % error  # repr, because str may fail in Python 2 on a localised message
    finally:
        connection.close()
    # Raised here, not in the handler, so that Python 3 prints no second stack trace above it.
    raise Unreachable(
        "No answer from %s within %g s: %s. Is headcount running there? "
        "HEADCOUNT_ADMIN sets the address, HEADCOUNT_TIMEOUT the seconds to wait."
        % (base + target, connection.timeout, reason)
    )


def _parsed(body):
    """The JSON value in `body`, or None: every caller wants more than null."""
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RuntimeError):  # RuntimeError: nested too deep
        return None


def _is_session_list(answer):
    return isinstance(answer, list) and all(
        isinstance(row, dict) and _KEYS.issubset(row) for row in answer
    )


def _refused(url, status, answer):
    """The exception for a status other than 200; `{"error":{"code","message"}}` says why."""
    error = answer.get("error") if isinstance(answer, dict) else None
    error = error if isinstance(error, dict) else {}
    code, message = error.get("code"), error.get("message")
    # As JSON: one line of ASCII, whatever a strange server sends and wherever it is printed.
    said = "".join(" %.300s" % json.dumps(part) for part in (code, message) if part is not None)
    text = "%s answered %d%s. %s" % (url, status, said, _WHAT_TO_DO.get(status, "See its log."))
    return Refused(text, status, code, message)
