"""The ways out of the machine, for real: processes, sockets, TLS, signatures; and what is said when they fail."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import pytest
from attrs import evolve

from orchestrator.errors import ConfigError
from orchestrator.logs import Form, Told
from orchestrator.supervisor import alerts, channels
from orchestrator.supervisor.alerts import Alerts, Channel, Message, NotDeliveredError, Send
from orchestrator.supervisor.channels import Webhook, by_command, by_mail, mail, read_secret, signature, subject
from states.alarm import Severity
from states.alert import Alert, Phase
from tests.telling.pictures import AWAY, SPLIT, START, cluster, picture

pytestmark = pytest.mark.anyio
MESSAGE = Message("nas", "nas-webhook-1", START, (Alert(AWAY, Phase.RAISED, START, START), Alert(SPLIT, Phase.RAISED, START, START)))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Receiver(ThreadingHTTPServer):
    """A webhook's far end on a free port. `answer`: its status, None to say nothing; `got`: headers and bodies."""

    daemon_threads = True

    def __init__(self, answer: int | None = 204) -> None:
        super().__init__(("127.0.0.1", 0), _Hook)
        self.answer = answer
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.over = threading.Event()

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.server_port}/hooks/5ecret-t0ken"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what some tests are about."""


class _Hook(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
        if self.server.answer is None:
            self.server.over.wait(60)
            return
        self.send_response(self.server.answer)
        self.send_header("Location", "http://192.0.2.1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Quiet."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


# -- a webhook ---------------------------------------------------------------------------------------------------------

async def test_a_webhook_is_posted_and_signed(receiver: Receiver, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_" + base64.b64encode(b"quite secret").decode() + "\n")
    await Webhook(receiver.url(), secret)(MESSAGE)
    ((headers, body),) = receiver.got
    assert json.loads(body)["alerts"][0]["name"] == "node-away"
    assert headers["content-type"] == "application/json"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("nas-webhook-1", "1700000000")
    signed = b"nas-webhook-1.1700000000." + body
    assert headers["webhook-signature"] == "v1," + base64.b64encode(hmac.new(b"quite secret", signed, hashlib.sha256).digest()).decode()


def test_the_signature_is_what_openssl_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "signed").write_bytes(b"id.1.{}")
    done = subprocess.run(("openssl", "dgst", "-sha256", "-hmac", "key", "-binary", tmp_path / "signed"), capture_output=True, check=True)
    assert signature(b"key", "id", 1, b"{}") == "v1," + base64.b64encode(done.stdout).decode()


async def test_without_a_secret_it_is_not_signed(receiver: Receiver) -> None:
    await Webhook(receiver.url(), None)(MESSAGE)
    assert "webhook-signature" not in receiver.got[0][0]


@pytest.mark.parametrize("status", [301, 307, 400, 403, 500, 503])
async def test_anything_but_a_2xx_is_not_delivered(status: int, receiver: Receiver) -> None:
    receiver.answer = status
    with pytest.raises(NotDeliveredError, match=f"the webhook answered {status}"):
        await Webhook(receiver.url(), None)(MESSAGE)
    assert len(receiver.got) == 1, "no redirection is followed: it was not configured"


async def test_what_fails_is_said_without_the_path() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        for url in (f"http://127.0.0.1:{nobody.getsockname()[1]}/5ecret-t0ken", "http://no-such-host.invalid/5ecret-t0ken",
                    "http://[::1/5ecret-t0ken", "gopher://127.0.0.1/5ecret-t0ken"):
            with pytest.raises(NotDeliveredError) as caught:
                await Webhook(url, None)(MESSAGE)
            assert "5ecret" not in str(caught.value)
            assert len(str(caught.value)) > 10


@pytest.fixture
def self_signed(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert", tmp_path / "key"
    subprocess.run(("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"), check=True, capture_output=True)
    return cert, key


async def test_a_certificate_nobody_vouches_for_is_refused(receiver: Receiver, self_signed: tuple[Path, Path]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    with pytest.raises(NotDeliveredError, match="CERTIFICATE_VERIFY_FAILED"):
        await Webhook(receiver.url("https"), None)(MESSAGE)
    assert receiver.got == []


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("", "it is empty"), ("whsec_***", "base64 was expected")])
async def test_a_useless_secret_sends_nothing_unsigned(content: str | None, said: str, receiver: Receiver, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NotDeliveredError, match=said):
        await Webhook(receiver.url(), path)(MESSAGE)
    assert receiver.got == []
    path.write_text("changed while we run")
    await Webhook(receiver.url(), path)(MESSAGE)
    assert read_secret(path) == b"changed while we run"


async def test_a_webhook_that_never_answers_delays_nobody(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real sockets, real time: a picture is handed over at once, the command hears of it, the webhook is tried again."""
    monkeypatch.setattr(channels, "LIMIT", 9.0)
    monkeypatch.setattr(alerts, "LIMIT", 0.5)
    monkeypatch.setattr(alerts, "PAUSES", (0.05,))
    receiver.answer = None
    heard, now = tmp_path / "heard", START
    split = evolve(picture(cluster(tmp_path)), alarms=(SPLIT,))
    with Told(StringIO(), Form.JSON) as told:
        ways: dict[str, Send] = {"webhook": Webhook(receiver.url(), None), "command": partial(by_command, ("tee", str(heard)))}
        listener = Alerts(tuple(Channel(name, "nas", send, lambda: now, told.log) for name, send in ways.items()), lambda: now, told.log)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.run)
            began = anyio.current_time()
            listener.picture(split)
            assert anyio.current_time() - began < 0.5
            with anyio.fail_after(40):
                while not (heard.exists() and heard.read_bytes()) or len(receiver.got) < 2:  # noqa: ASYNC110 - other processes' to say
                    await anyio.sleep(0.01)
            receiver.answer = 200
            receiver.over.set()
            with anyio.fail_after(40):
                while listener.counts["alerts_delivered"] != 2:  # noqa: ASYNC110 - the far side's to say
                    await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert json.loads(heard.read_bytes())["alerts"][0]["name"] == "split-brain"
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1


def test_a_name_server_that_never_answers_does_not_hold_up_the_end(anyio_backend: str) -> None:
    """The resolver cannot be stopped; the program can."""
    script = (
        "import socket, sys, time, anyio\n"
        "from orchestrator.supervisor.channels import Webhook\n"
        "from tests.telling.test_channels import MESSAGE\n"
        "socket.getaddrinfo = lambda *_, **__: time.sleep(60)\n"
        "async def main():\n"
        "    with anyio.move_on_after(0.1):\n"
        "        await Webhook('http://nas.invalid/x', None)(MESSAGE)\n"
        "    print('ends', flush=True)\n"
        "anyio.run(main, backend=sys.argv[1])\n"
    )
    with subprocess.Popen((sys.executable, "-c", script, anyio_backend), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ends\n"
        began = time.monotonic()
        assert process.wait(30) == 0
        assert time.monotonic() - began < 20


async def test_a_name_is_reached_at_whichever_of_its_addresses_answers(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost with an address where nobody listens before the right one; it is asked for by its name."""
    real = socket.getaddrinfo

    def two(host: str, *more: Any, **named: Any) -> list[Any]:
        there = ("127.0.0.2", "127.0.0.1") if host == "localhost" else (host,)
        return [answer for one in there for answer in real(one, *more, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", two)
    await Webhook(receiver.url().replace("127.0.0.1", "localhost"), None)(MESSAGE)
    assert receiver.got[0][0]["host"] == f"localhost:{receiver.server_port}"


async def test_a_certificate_is_checked_against_the_name(
    receiver: Receiver, self_signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An authority we trust vouches for 127.0.0.1, and not for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed)
    receiver.socket = context.wrap_socket(receiver.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(self_signed[0]))
    await Webhook(receiver.url("https"), None)(MESSAGE)
    with pytest.raises(NotDeliveredError, match="Hostname mismatch"):
        await Webhook(receiver.url("https").replace("127.0.0.1", "localhost"), None)(MESSAGE)
    assert len(receiver.got) == 1


# -- a command ---------------------------------------------------------------------------------------------------------

async def test_a_command_gets_the_document_on_its_stdin(tmp_path: Path) -> None:
    await by_command(("tee", str(tmp_path / "got")), MESSAGE)
    assert (tmp_path / "got").read_bytes() == MESSAGE.body


@pytest.mark.parametrize(("argv", "said"), [
    (("sh", "-c", "echo first >&2; echo the pager is off >&2; exit 3"), "sh ended with 3: the pager is off"),
    (("sh", "-c", "exit 1"), "sh ended with 1: it said nothing"),
    (("sh", "-c", "kill -9 $$"), "sh"),
    (("no-such-program",), "no-such-program"),
])
async def test_a_command_that_fails_says_why(argv: tuple[str, ...], said: str) -> None:
    with pytest.raises(NotDeliveredError, match=said):
        await by_command(argv, MESSAGE)


async def test_a_command_that_hangs_is_ended_with_all_it_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(channels, "LIMIT", 9.0)
    script = f"sleep 600 & echo $$ $! >{tmp_path}/pids; sleep 600"
    with pytest.raises(NotDeliveredError, match="did not end within 1 s"):
        await by_command(("sh", "-c", script), MESSAGE)
    pids = (tmp_path / "pids").read_text().split()
    with anyio.fail_after(30):
        while any(map(_runs, pids)):  # noqa: ASYNC110 - it is the kernel's to say
            await anyio.sleep(0.01)


def _runs(pid: str) -> bool:
    """Not gone, and not a zombie that only waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- mail --------------------------------------------------------------------------------------------------------------

async def test_mail_goes_through_sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/argv\ncat >{tmp_path}/mail\n')
    program.chmod(0o755)
    monkeypatch.setattr(channels, "SENDMAIL", (str(program), "-i"))
    await by_mail("orchestrate@nas", ("ann@example.org", "bob@example.org"), MESSAGE)
    assert (tmp_path / "argv").read_text().split() == ["-i", "-f", "orchestrate@nas", "--", "ann@example.org", "bob@example.org"]
    got = message_from_bytes((tmp_path / "mail").read_bytes(), policy=policy.default)
    assert isinstance(got, EmailMessage)
    assert got["Subject"] == "[nas] CRITICAL: r0 is split (and 1 more)", "the worst first"
    assert (got["Auto-Submitted"], got["Importance"]) == ("auto-generated", "high")
    assert "next: orchestrate recover-splitbrain r0 --plan" in got.get_content()


async def test_without_sendmail_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SENDMAIL", ("/no/such/sendmail", "-i"))
    with pytest.raises(NotDeliveredError, match="/no/such/sendmail"):
        await by_mail("a", ("b",), MESSAGE)


def test_mails_of_one_alarm_belong_together_and_the_end_says_so() -> None:
    cleared = evolve(MESSAGE, number="nas-mail-9", alerts=(Alert(SPLIT, Phase.CLEARED, START, START + 60),))
    raised = evolve(MESSAGE, alerts=(MESSAGE.alerts[1],))
    assert mail("a", ("b",), raised)["References"] == mail("a", ("b",), cleared)["References"]
    assert subject(cleared) == "[nas] cleared: r0 is split"
    assert "cleared 2023-11-14T22:14:20+00:00" in mail("a", ("b",), cleared).get_content()


def test_words_of_a_kernel_log_make_no_headers() -> None:
    rude = evolve(SPLIT, what="r0\r\nBcc: everybody@example.org\n\x00 is split " + "x" * 500, about="r0\n", severity=Severity.WARNING)
    made = mail("a", ("b",), evolve(MESSAGE, cluster="n\u00e4s", alerts=(Alert(rude, Phase.RAISED, START, START),)))
    got = message_from_bytes(bytes(made), policy=policy.default)
    assert got["Bcc"] is None
    assert re.fullmatch(r"<[A-Za-z0-9._-]+@orchestrate>", str(got["References"]))


# -- the configuration -------------------------------------------------------------------------------------------------

def test_the_ways_out_are_those_of_the_configuration(tmp_path: Path) -> None:
    with Told(StringIO(), Form.JSON) as told:
        config = cluster(tmp_path, '\n[supervise.alerts]\ncommand = ["logger"]\nwebhook = "https://h/x"\nmail_to = ["a@b"]\n')
        assert [one.name for one in channels.channels(config, lambda: START, told.log)] == ["command", "webhook", "mail"]
        assert channels.channels(cluster(tmp_path), lambda: START, told.log) == ()


def test_what_will_keep_alerts_in_is_said_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "SENDMAIL", ("/no/such/sendmail", "-i"))
    config = cluster(tmp_path, '\n[supervise.alerts]\ncommand = ["no-such-pager"]\nwebhook = "https://h/x"\nmail_to = ["a@b"]\n'
                               'webhook_secret_file = "secret"\n')
    assert channels.problems(config) == [
        "supervise.alerts.command: no-such-pager is no program here", "supervise.alerts.mail_to: /no/such/sendmail is no program here",
        f"supervise.alerts.webhook_secret_file {tmp_path}/secret: No such file or directory",
    ]
    secret = tmp_path / "secret"
    secret.write_text("quite secret")
    secret.chmod(0o644)
    assert channels.problems(config)[2:] == [f"supervise.alerts.webhook_secret_file: others may read it: chmod 600 {secret}"]
    secret.chmod(0o600)
    assert channels.problems(config)[2:] == []
    out = StringIO()
    with Told(out, Form.JSON) as told:
        channels.channels(config, lambda: START, told.log)
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["alerts_will_not_get_out"] * 2


@pytest.mark.parametrize(("line", "said"), [
    ('webhook = "ftp://h/x"', 'supervise.alerts.webhook: "https://HOST/..." was expected'),
    ('webhook_secret_file = "s"', "supervise.alerts.webhook_secret_file: there is no webhook"),
    ('mail_to = ["a@b\\n"]', "supervise.alerts.mail_to: a mail address was expected"),
    ('mail_to = ["-oQ/tmp"]', "supervise.alerts.mail_to: a mail address was expected"),
    ('mail_from = "a b"', "supervise.alerts.mail_from: a mail address was expected"),
    ("repeat = -1.0", "supervise.alerts.repeat: 0 or more seconds"),
    ('command = [""]', "supervise.alerts.command: a program was expected"),
])
def test_what_cannot_be_meant_is_refused(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        cluster(tmp_path, f"\n[supervise.alerts]\n{line}\n")
