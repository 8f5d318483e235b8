"""How an alert leaves this machine: a command, a webhook, the machine's own sendmail.

The webhook is signed as Standard Webhooks says (headers webhook-id, webhook-timestamp, webhook-signature: HMAC-SHA256 of
`id.timestamp.body`), so that any of its libraries verifies it. Secrets and the webhook's path never get into a message or a log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import shutil
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.commands import Command
from orchestrator.config import Config
from orchestrator.local import LocalTransport
from orchestrator.supervisor.alerts import LIMIT, Channel, Message, NotDeliveredError, Send, alert_id, iso
from orchestrator.supervisor.resolve import addresses
from orchestrator.transport import Exited, NotSent, Signalled, Unknown
from states.alarm import Severity
from states.alert import Phase

if TYPE_CHECKING:
    import httpx

SENDMAIL = ("/usr/sbin/sendmail", "-i")
PREFIX = "whsec_"


def channels(config: Config, clock: Callable[[], float], log: Any) -> tuple[Channel, ...]:
    """The ways out that [supervise.alerts] names."""
    section, cluster = config.supervise.alerts, config.cluster.name
    for problem in problems(config):
        log.warning("alerts_will_not_get_out", seen=problem)
    ways: dict[str, Send] = {}
    if section.command:
        ways["command"] = partial(by_command, section.command)
    if section.webhook:
        ways["webhook"] = Webhook(section.webhook, config.file(section.webhook_secret_file) if section.webhook_secret_file else None)
    if section.mail_to:
        ways["mail"] = partial(by_mail, section.mail_from, section.mail_to)
    return tuple(Channel(name, cluster, send, clock, log) for name, send in ways.items())


def problems(config: Config) -> list[str]:
    """What will keep alerts in, as far as this machine shows before there is any: better said now than when one is needed."""
    section = config.supervise.alerts
    programs = [("command", section.command[0])] if section.command else []
    programs += [("mail_to", SENDMAIL[0])] if section.mail_to else []
    found = [f"supervise.alerts.{key}: {program} is no program here" for key, program in programs if shutil.which(program) is None]
    if section.webhook_secret_file:
        path = config.file(section.webhook_secret_file)
        try:
            read_secret(path)
            if path.stat().st_mode & 0o077:
                found.append(f"supervise.alerts.webhook_secret_file: others may read it: chmod 600 {path}")
        except (NotDeliveredError, OSError) as error:
            found.append(f"supervise.alerts.{error}")
    return found


# -- a command ---------------------------------------------------------------------------------------------------------

async def by_command(argv: tuple[str, ...], message: Message) -> None:
    """The document on its stdin; exit 0 is taken for delivered. It is ended after its time. Raises NotDeliveredError."""
    await _run(argv, message.body)


async def _run(argv: tuple[str, ...], stdin: bytes) -> None:
    outcome = await LocalTransport().run(Command("", argv, limit=LIMIT - 8, stdin=stdin))
    match outcome:
        case Exited(code=0):
            return
        case Exited(code=124) | Exited(code=137):
            raise NotDeliveredError(f"{argv[0]} did not end within {LIMIT - 8:.0f} s")
        case Exited(code=code, stdout=stdout, stderr=stderr):
            said = (stderr or stdout).decode(errors="replace").strip().splitlines()
            raise NotDeliveredError(f"{argv[0]} ended with {code}: {said[-1][:200] if said else 'it said nothing'}")
        case Signalled(signal=name):
            raise NotDeliveredError(f"{argv[0]} was ended by {name}")
        case NotSent(detail=detail) | Unknown(detail=detail):
            raise NotDeliveredError(f"{argv[0]}: {detail}")


# -- a webhook ---------------------------------------------------------------------------------------------------------

def signature(secret: bytes, number: str, timestamp: int, body: bytes) -> str:
    """Standard Webhooks, symmetric: `v1,` and the HMAC-SHA256 in base64."""
    signed = b".".join((number.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()


def read_secret(path: Path) -> bytes:
    """What is in the file: `whsec_` and base64, or any other text, taken as it is. Raises NotDeliveredError."""
    try:
        text = path.read_text().strip()
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else text.encode()
    except OSError as error:
        raise NotDeliveredError(f"webhook_secret_file {path}: {error.strerror}") from error
    except (binascii.Error, UnicodeDecodeError) as error:
        raise NotDeliveredError(f"webhook_secret_file {path}: whsec_ and base64 was expected") from error
    if not secret:
        raise NotDeliveredError(f"webhook_secret_file {path}: it is empty")
    return secret


class Webhook:
    """Posts messages to a URL. The secret is read each time, so that it can be changed while we run."""

    def __init__(self, url: str, secret_file: Path | None) -> None:
        self._url = url
        self._secret_file = secret_file
        self._trusted: ssl.SSLContext | None = None

    async def __call__(self, message: Message) -> None:
        """Any 2xx is delivered. Raises NotDeliveredError."""
        import httpx

        body, stamp = message.body, int(message.sent)
        headers = {"content-type": "application/json", "user-agent": "orchestrate", "webhook-id": message.number,
                   "webhook-timestamp": str(stamp)}
        if self._secret_file is not None:
            headers["webhook-signature"] = signature(read_secret(self._secret_file), message.number, stamp, body)
        try:
            url = httpx.URL(self._url)
            if url.scheme not in ("http", "https") or not url.host:
                raise NotDeliveredError("the webhook's URL is not one")
            answer = await self._post(url, body, headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise NotDeliveredError(self._without_path(f"{type(error).__name__}: {_reason(error)}")) from error
        if not answer.is_success:
            raise NotDeliveredError(f"the webhook answered {answer.status_code} {answer.reason_phrase}"[:200])

    async def _post(self, url: httpx.URL, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """At the first of its addresses that takes the connection. What it says beside its status is not read."""
        import httpx

        if self._trusted is None:
            self._trusted = ssl.create_default_context()  # the machine's own certificate authorities
        headers = {**headers, "host": url.netloc.decode()}
        there = await addresses(url.host, url.port or (443 if url.scheme == "https" else 80))
        async with httpx.AsyncClient(verify=self._trusted, timeout=LIMIT / 3, trust_env=False) as client:
            for last, address in ((one == there[-1], one) for one in there):
                at = url.copy_with(host=address)
                try:
                    async with client.stream("POST", at, content=body, headers=headers, extensions={"sni_hostname": url.host}) as answer:
                        return answer
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    if last:
                        raise
        raise OSError("it has no address")

    def _without_path(self, text: str) -> str:
        """A webhook's path is often its password."""
        return text.replace(self._url, "the webhook")[:200]


def _reason(error: BaseException | None) -> str:
    """What an error says, or else what caused it: on some backends only the innermost has words."""
    while error is not None:
        if str(error):
            return str(error)
        error = error.__cause__ or error.__context__
    return "it did not say why"


# -- mail --------------------------------------------------------------------------------------------------------------

async def by_mail(sender: str, to: tuple[str, ...], message: Message) -> None:
    """One mail through the machine's own sendmail. Raises NotDeliveredError."""
    await _run((*SENDMAIL, "-f", sender, "--", *to), bytes(mail(sender, to, message)))


def mail(sender: str, to: tuple[str, ...], message: Message) -> EmailMessage:
    """A message as people read it. Mails about the same alarm belong together."""
    made = EmailMessage()
    made["From"] = sender
    made["To"] = ", ".join(to)
    made["Subject"] = subject(message)
    made["Date"] = format_datetime(datetime.fromtimestamp(message.sent, UTC))
    made["Message-ID"] = f"<{_atom(message.number)}@orchestrate>"
    made["References"] = " ".join(f"<{_atom(alert_id(message.cluster, one))}@orchestrate>" for one in message.alerts[:20])
    made["Auto-Submitted"] = "auto-generated"
    if any(one.alarm.severity is Severity.CRITICAL and one.phase is not Phase.CLEARED for one in message.alerts):
        made["Importance"] = "high"
    made.set_content(text(message))
    return made


def subject(message: Message) -> str:
    """The worst first, in one line."""
    first = max(message.alerts, key=lambda one: (one.phase is not Phase.CLEARED, tuple(Severity).index(one.alarm.severity)))
    word = first.alarm.severity.value.upper() if first.phase is not Phase.CLEARED else "cleared"
    more = f" (and {len(message.alerts) - 1} more)" if len(message.alerts) > 1 else ""
    return " ".join(f"[{message.cluster}] {word}: {first.alarm.what}{more}".split())[:200]


def text(message: Message) -> str:
    """Every alert of a message, for people."""
    parts = []
    for one in message.alerts:
        lines = [f"{one.phase.value.upper()} ({one.alarm.severity.value}) {one.alarm.name}: {one.alarm.about}", f"  {one.alarm.what}"]
        if one.phase is not Phase.CLEARED:
            lines += [f"  {word}: {said}" for word, said in (("seen", one.alarm.evidence), ("next", one.alarm.remedy)) if said]
        lines.append(f"  since {iso(one.since)}" + (f", cleared {iso(one.at)}" if one.phase is Phase.CLEARED else ""))
        parts.append("\n".join(lines))
    if message.dropped:
        parts.append(f"{message.dropped} older alerts were dropped: too many waited. `orchestrate status` says what is.")
    return "\n\n".join(parts) + "\n"


def _atom(words: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in ".-_") else "-" for letter in words)
