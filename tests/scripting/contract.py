# -*- coding: utf-8 -*-
# What getSessionInfo sends, returns and raises, against a fake server on loopback.
#
# Run by jython (JYTHONPATH), Python 2.7 or Python 3 (PYTHONPATH) with the path at src/sdk/python:
#     contract.py [-v]

from __future__ import print_function

import json
import os
import socket
import sys
import threading
import traceback
import unittest

import system

getSessionInfo = system.perspective.getSessionInfo
PATH = "/api/v1/session-info"
TEXT = type(u"")
HAS_TLS = hasattr(system.perspective._http, "HTTPSConnection")
INTEGER = (int,) if sys.version_info[0] > 2 else (int, long)  # noqa: F821

ROW = [
    ("userAgent", u"Mozilla/5.0 (Zoë)"),
    ("id", u"7f1c1f0e-9f4e-4d0e-8a57-0d6f7c1a2b3c"),
    ("username", u"billy"),
    ("project", u"demo"),
    ("uptime", 2 ** 31 + 1),
    ("clientAddress", u"127.0.0.1"),
    ("lastComm", 0),
    ("sessionScope", u"browser"),
    ("activePages", 2),
    ("recentBytesSent", 17),
    ("totalBytesSent", 2 ** 53 + 1),
    ("pageIds", [u"p1", u"p2"]),
    ("authorized", False),
]


def json_object(pairs):
    """A JSON object with its keys in this order, in every Python."""
    return "{" + ",".join("%s:%s" % (json.dumps(k), json.dumps(v)) for k, v in pairs) + "}"


def answer(body, status="200 OK", content_type="application/json"):
    """The bytes of a whole HTTP answer."""
    body = body.encode("utf-8")
    head = "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return (head % (status, content_type, len(body))).encode("ascii") + body


def error_answer(status, code, message):
    return answer(json.dumps({"error": {"code": code, "message": message}}), status)


EMPTY = answer("[]")
SILENCE = None
NOBODY = "127.0.0.1:1"  # not a port that was just closed: Jython closes in its own good time


class FakeServer(object):
    """Gives each connection one canned answer; keeps the request heads it was sent."""

    def __init__(self, canned):
        self.canned = canned
        self.heads = []
        self.done = threading.Event()
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(5)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)
        self.thread.daemon = True
        self.thread.start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            try:
                if self.done.is_set():
                    return
                self.converse(connection)
            finally:
                connection.close()

    def converse(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                return
            head += piece
        self.heads.append(head.decode("ascii"))
        if self.canned is SILENCE:
            self.done.wait(30)
        else:
            connection.sendall(self.canned)

    def close(self):
        self.done.set()
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes accept()
        self.thread.join()
        self.listener.close()


class Contract(unittest.TestCase):
    def setUp(self):
        kept = dict(os.environ)
        self.addCleanup(os.environ.update, kept)
        self.addCleanup(os.environ.clear)
        for name in list(os.environ):
            if name.startswith("HEADCOUNT_") or name.lower().endswith("_proxy"):
                del os.environ[name]

    def serve(self, canned):
        """A fake server, and the environment set to it."""
        server = FakeServer(canned)
        self.addCleanup(server.close)
        os.environ["HEADCOUNT_ADMIN"] = "http://127.0.0.1:%d" % server.port
        return server

    def raised(self, kind, *args, **named):
        """The exception that the call raises, which must be of exactly this kind."""
        try:
            result = getSessionInfo(*args, **named)
        except system.perspective.HeadcountError as error:
            self.assertIs(type(error), kind)
            self.assertEqual(str(error), str(error).encode("ascii", "replace").decode("ascii"))
            self.assertNotIn("During handling", traceback.format_exc())
            return error
        self.fail("no exception, but %r" % (result,))


class WhatIsSent(Contract):
    def check(self, query, *args, **named):
        server = self.serve(EMPTY)
        self.assertEqual(getSessionInfo(*args, **named), [])
        lines = server.heads[0].split("\r\n")
        self.assertEqual(lines[0], "GET %s%s HTTP/1.1" % (PATH, query))
        self.assertIn("Host: 127.0.0.1:%d" % server.port, lines)
        self.assertEqual(len(server.heads), 1)
        return lines

    def test_no_filter(self):
        self.check("")
        self.check("", None)
        self.check("", None, None)
        self.check("", "", "")
        self.check("", u"", u"")
        self.check("", usernameFilter=None, projectFilter="")

    def test_by_position(self):
        self.check("?usernameFilter=billy", "billy")
        self.check("?usernameFilter=billy&projectFilter=demo", "billy", "demo")
        self.check("?projectFilter=demo", None, "demo")
        self.check("?projectFilter=demo", "", "demo")

    def test_by_keyword(self):
        self.check("?usernameFilter=billy", usernameFilter="billy")
        self.check("?projectFilter=demo", projectFilter="demo")
        self.check(
            "?usernameFilter=billy&projectFilter=demo", projectFilter="demo", usernameFilter="billy"
        )
        self.check("?usernameFilter=billy&projectFilter=demo", "billy", projectFilter="demo")

    def test_text_is_percent_encoded_as_utf8(self):
        self.check("?usernameFilter=Zo%C3%AB%2A", u"Zoë*")
        self.check("?usernameFilter=%E5%B1%B1%F0%9F%98%80", u"\u5c71\U0001f600")
        self.check("?usernameFilter=a%26b%2Bc%20d%3De%25f%23g%2Fh%3F%5C", "a&b+c d=e%f#g/h?\\")
        self.check("?projectFilter=%00%0D%0A", projectFilter="\0\r\n")

    @unittest.skipIf(sys.version_info[0] > 2, "byte strings are text in Python 2 only")
    def test_a_byte_string_is_taken_as_utf8(self):
        self.check("?usernameFilter=Zo%C3%AB%2A", u"Zoë*".encode("utf-8"))

    def test_the_token_is_sent_when_there_is_one(self):
        self.assertNotIn("Authorization", "".join(self.check("")))
        os.environ["HEADCOUNT_ADMIN_TOKEN"] = " 0123abcd\n"
        self.assertIn("Authorization: Bearer 0123abcd", self.check(""))


class WhatIsReturned(Contract):
    def test_the_thirteen_values_and_their_types(self):
        self.serve(answer("[%s,%s]" % (json_object(ROW), json_object(ROW))))
        sessions = getSessionInfo()
        self.assertIs(type(sessions), list)
        self.assertEqual(sessions, [dict(ROW), dict(ROW)])
        for key, expected in ROW:
            value = sessions[0][key]
            if isinstance(expected, bool):
                self.assertIs(value, expected, key)
            elif isinstance(expected, INTEGER):
                self.assertIn(type(value), INTEGER, key)
            else:
                self.assertIs(type(value), type(expected), key)
        self.assertEqual([type(page) for page in sessions[0]["pageIds"]], [TEXT, TEXT])

    def test_integers_are_exact_at_any_size(self):
        for number in (0, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 + 1, 2 ** 64 - 1):
            row = [(key, number if key == "totalBytesSent" else value) for key, value in ROW]
            self.serve(answer("[%s]" % json_object(row)))
            self.assertEqual("%d" % getSessionInfo()[0]["totalBytesSent"], "%d" % number)

    @unittest.skipIf(sys.version_info < (3, 7), "dicts have no order")
    def test_the_keys_keep_their_order(self):
        self.serve(answer("[%s]" % json_object(ROW)))
        self.assertEqual(list(getSessionInfo()[0]), [key for key, _ in ROW])

    def test_text_may_be_sent_escaped_or_not(self):
        for sent in (u"Zoë \u5c71\U0001f600", u"Zo\\u00eb \\u5c71\\ud83d\\ude00"):
            body = json_object(ROW).replace('"billy"', u'"%s"' % sent)
            self.serve(answer("[%s]" % body))
            self.assertEqual(getSessionInfo()[0]["username"], u"Zoë \u5c71\U0001f600")

    def test_a_long_chunked_answer(self):
        body = ("[" + ",".join([json_object(ROW)] * 2000) + "]").encode("ascii")
        pieces = [body[at : at + 50000] for at in range(0, len(body), 50000)] + [b""]
        chunks = [("%x\r\n" % len(p)).encode("ascii") + p + b"\r\n" for p in pieces]
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.serve(head + b"".join(chunks))
        self.assertEqual(len(getSessionInfo()), 2000)


class WhatIsRaised(Contract):
    def test_a_filter_that_is_not_text(self):
        server = self.serve(EMPTY)
        bad = [0, 1, False, 1.5, ["billy"], ("billy",), {}, object(), bytearray(b"billy")]
        bad += [b"billy", b"", chr(0xD800)] if sys.version_info[0] > 2 else [b"\xff"]
        for value in bad:
            error = self.raised(system.perspective.BadArgument, value)
            self.assertIsInstance(error, TypeError)
            self.assertIn("usernameFilter", str(error))
            self.assertIn(type(value).__name__, str(error))
            error = self.raised(system.perspective.BadArgument, projectFilter=value)
            self.assertIn("projectFilter", str(error))
        self.assertEqual(server.heads, [])

    def test_the_bad_value_is_shown_but_not_at_any_length(self):
        self.assertIn("['billy']", str(self.raised(system.perspective.BadArgument, ["billy"])))
        self.assertLess(len(str(self.raised(system.perspective.BadArgument, [0] * 10000))), 250)

    def test_arguments_that_do_not_exist(self):
        server = self.serve(EMPTY)
        self.assertRaises(TypeError, getSessionInfo, userFilter="billy")
        self.assertRaises(TypeError, getSessionInfo, "billy", "demo", "more")
        self.assertRaises(TypeError, getSessionInfo, "billy", usernameFilter="billy")
        self.assertEqual(server.heads, [])

    def check_unreachable(self, address):
        error = self.raised(system.perspective.Unreachable)
        self.assertIn(address + PATH, str(error))
        self.assertIn("HEADCOUNT_ADMIN", str(error))
        return error

    def test_nothing_listens(self):
        os.environ["HEADCOUNT_ADMIN"] = NOBODY
        self.assertIn("refused", str(self.check_unreachable("http://" + NOBODY)))

    def test_time_runs_out(self):
        self.serve(SILENCE)
        os.environ["HEADCOUNT_TIMEOUT"] = "0.25"
        error = self.check_unreachable(os.environ["HEADCOUNT_ADMIN"])
        self.assertIn("timed out", str(error))
        self.assertIn("0.25 s", str(error))
        self.assertIn("HEADCOUNT_TIMEOUT", str(error))

    def test_the_answer_breaks_off(self):
        for canned in (b"", b"HTTP/1.1 20", EMPTY[:-1], b"\x15\x03\x01\x00\x02\x02\x16", b"hello\n"):
            self.serve(canned)
            self.check_unreachable(os.environ["HEADCOUNT_ADMIN"])

    def check_refused(self, canned, status, code, message, *shown):
        self.serve(canned)
        error = self.raised(system.perspective.Refused)
        self.assertEqual((error.status, error.code, error.message), (status, code, message))
        for text in (os.environ["HEADCOUNT_ADMIN"] + PATH, " %d" % status) + shown:
            self.assertIn(text, str(error))

    def test_the_server_says_why_it_refuses(self):
        canned = error_answer("403 Forbidden", "forbidden", "the token has no scope read")
        said = '"forbidden" "the token has no scope read"'
        self.check_refused(
            canned, 403, u"forbidden", u"the token has no scope read", said, "HEADCOUNT_ADMIN_TOKEN"
        )
        canned = error_answer("400 Bad Request", "bad-parameter", u"Zoë\x1b[2J")
        said = '"bad-parameter" "Zo\\u00eb\\u001b[2J"'
        self.check_refused(canned, 400, u"bad-parameter", u"Zoë\x1b[2J", said, "filters")

    def test_the_server_refuses_without_a_reason(self):
        for body in ("oops", "", "[]", "null", '{"error":"oops"}', "{}", u"ÿ"):
            self.check_refused(answer(body, "500 Oops"), 500, None, None, "log")
        self.check_refused(answer("{}", "404 Not Found"), 404, None, None, "HEADCOUNT_ADMIN")
        self.check_refused(answer("", "204 No Content"), 204, None, None)

    def test_a_redirect_is_not_followed(self):
        other = FakeServer(EMPTY)
        self.addCleanup(other.close)
        head = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n"
        self.check_refused((head % other.port).encode("ascii"), 302, None, None)
        self.assertEqual(other.heads, [])

    def test_the_answer_is_not_a_list_of_sessions(self):
        html = "<!doctype html><title>It works</title>"
        twelve = json_object(ROW[:-1])
        bodies = [html, "", "null", "{}", '{"items":[]}', "7", '"[]"', "[1]", "[[]]", "[{}]", "[", "[]]"]
        bodies += ["[%s]" % twelve, "[" * 100000]
        for canned in [answer(body) for body in bodies] + [EMPTY.replace(b"[]", b"\xff\xfe")]:
            self.serve(canned)
            error = self.raised(system.perspective.BadAnswer)
            self.assertIn(os.environ["HEADCOUNT_ADMIN"] + PATH, str(error))
            self.assertIn("HEADCOUNT_ADMIN", str(error))
        self.assertLess(len(str(error)), 300)


class Environment(Contract):
    def test_every_way_to_write_the_address(self):
        server = self.serve(EMPTY)
        forms = "http://%s http://%s/ %s %s/ ws://%s ws://%s/ HTTP://%s".split()
        for form in forms + [" http://%s\n"]:
            os.environ["HEADCOUNT_ADMIN"] = form % ("127.0.0.1:%d" % server.port)
            self.assertEqual(getSessionInfo(), [], form)
        self.assertEqual(len(server.heads), len(forms) + 1)

    @unittest.skipIf(not HAS_TLS, "this Python has no TLS")
    def test_a_secure_address_is_asked_with_tls(self):
        for scheme in ("https", "wss"):
            os.environ["HEADCOUNT_ADMIN"] = "%s://%s" % (scheme, NOBODY)
            error = self.raised(system.perspective.Unreachable)
            self.assertIn("https://" + NOBODY, str(error))
            server = self.serve(EMPTY)
            os.environ["HEADCOUNT_ADMIN"] = "%s://127.0.0.1:%d" % (scheme, server.port)
            os.environ["HEADCOUNT_TIMEOUT"] = "0.5"
            self.raised(system.perspective.Unreachable)
            self.assertEqual(server.heads, [], "nothing may be asked in clear text")

    @unittest.skipIf(HAS_TLS, "this Python has TLS")
    def test_a_secure_address_without_tls_is_a_bad_setting(self):
        # Debian's jython comes without the Bouncy Castle classes that its ssl module needs.
        message = self.check_bad("HEADCOUNT_ADMIN", ["https://127.0.0.1:8081", "wss://localhost"])
        self.assertIn("TLS", message)

    def test_the_default_address(self):
        for value in (None, "", " "):
            if value is not None:
                os.environ["HEADCOUNT_ADMIN"] = value
            base, connection, _ = system.perspective._admin_plane(os.environ)
            self.assertEqual(base, "http://127.0.0.1:8081")
            self.assertEqual((connection.host, connection.port), ("127.0.0.1", 8081))
            self.assertEqual(connection.timeout, 10)

    def test_an_ipv6_address(self):
        os.environ["HEADCOUNT_ADMIN"] = "http://[::1]:18081"
        base, connection, _ = system.perspective._admin_plane(os.environ)
        self.assertEqual(base, "http://[::1]:18081")
        self.assertEqual((connection.host, connection.port), ("::1", 18081))

    def test_the_environment_is_read_at_each_call(self):
        first, second = FakeServer(EMPTY), FakeServer(EMPTY)
        for server in (first, second):
            self.addCleanup(server.close)
            os.environ["HEADCOUNT_ADMIN"] = "127.0.0.1:%d" % server.port
            getSessionInfo()
        self.assertEqual((len(first.heads), len(second.heads)), (1, 1))

    def check_bad(self, name, values):
        for value in values:
            os.environ[name] = value
            error = self.raised(system.perspective.BadSetting)
            self.assertIsInstance(error, ValueError)
            self.assertIn(name, str(error))
        return str(error)

    def test_an_address_that_cannot_be_used(self):
        bad = "ftp://a:1 http:// :8081 http://a:0 http://a:65536 http://a:x http://u@a:1 a:1?q a:1#f"
        self.check_bad("HEADCOUNT_ADMIN", bad.split() + ["a b:1", "http://a:1/x", "a:1\nb"])

    def test_a_time_limit_that_cannot_be_used(self):
        self.check_bad("HEADCOUNT_TIMEOUT", "0 0.0 -1 10s nan inf 1e999 99999999999 x".split())

    def test_a_token_that_cannot_be_used_is_not_shown(self):
        self.assertNotIn("xyz", self.check_bad("HEADCOUNT_ADMIN_TOKEN", ["xyz abc", "xyz\r\nHost: a"]))

    def test_no_proxy_is_used(self):
        proxy = FakeServer(error_answer("502 Bad Gateway", "proxy", "I am the proxy"))
        self.addCleanup(proxy.close)
        self.serve(EMPTY)
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            os.environ[name] = "http://127.0.0.1:%d" % proxy.port
        self.assertEqual(getSessionInfo("billy"), [])
        self.assertEqual(proxy.heads, [])


if __name__ == "__main__":
    unittest.main()
