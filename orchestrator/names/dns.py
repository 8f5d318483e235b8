"""Records in a DNS zone, by dynamic update (RFC 2136) signed with a TSIG key (RFC 8945).

One message takes away what is unwanted and adds what is wanted: the server does all of it or nothing. Single records are
named, never a whole set, so others' records of the same name stay. It goes over TCP: either the server has the message,
or the connection says that it has not. Afterwards the server is asked what it has: an update of a name that is an alias
is answered with NOERROR and ignored (RFC 2136 3.4.2.2).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.tsig
import dns.update
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import frozen

from orchestrator.names import Address, NotPublishedError, Records, in_order, kind
from orchestrator.supervise_config import NamesSection

HEADER = 12
"""Bytes of a DNS message's header; the fourth one ends with the answer's code."""
REFUSALS = {
    dns.rcode.NOTAUTH: ("NOTAUTH", "has the zone another name, or another server, or does this one not take the key?"),
    dns.rcode.REFUSED: ("REFUSED", "allow this key to update the zone, on the server"),
    dns.rcode.NOTZONE: ("NOTZONE", "`name` is not in `zone`"),
    dns.rcode.SERVFAIL: ("SERVFAIL", "look into the server's log"),
}
KEYS: dict[type[Exception], tuple[str, str]] = {
    dns.tsig.PeerBadKey: ("it does not know the key {name}", "compare key_name and key_algorithm with the server's"),
    dns.tsig.PeerBadSignature: ("the signature by {name} is wrong", "compare key_file with the server's secret"),
    dns.tsig.PeerBadTime: ("its clock and ours differ too much", "set the clocks: a signature lasts for five minutes"),
}


@frozen
class DnsBackEnd:
    """Updates at one server. `key_file` is read every time: a mended or renewed key needs no restart."""

    names: NamesSection
    key_file: Path | None = None

    async def read(self) -> frozenset[Address] | None:
        """See BackEnd. None: this server takes updates, and answers no questions."""
        async with self._connected() as server:
            return await self._read(server)

    async def write(self, records: Records) -> None:
        """See BackEnd."""
        update = dns.update.UpdateMessage(dns.name.from_text(self.names.zone))
        name = dns.name.from_text(records.name)
        for address in in_order(records.unwanted):
            update.delete(name, kind(address), str(address))
        for address in in_order(records.wanted):
            update.add(name, records.ttl, kind(address), str(address))
        async with self._connected() as server:
            answer = await self._ask(server, update)
            if answer.rcode() != dns.rcode.NOERROR:
                raise self._refusal(answer.rcode())
            found = await self._read(server)
        if found is not None and (records.wanted - found or records.unwanted & found):
            shown = ", ".join(str(one) for one in in_order(found)) or "no address"
            raise NotPublishedError(f"{self._at} took the update, and {records.name} has {shown}", "is the name an alias (CNAME) there?")

    @property
    def _at(self) -> str:
        return f"{self.names.server}:{self.names.port}"

    async def _read(self, server: _Server) -> frozenset[Address] | None:
        found: set[Address] = set()
        for wanted in ("A", "AAAA"):
            answer = await self._ask(server, dns.message.make_query(dns.name.from_text(self.names.name), wanted))
            if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return None
            found |= {ipaddress.ip_address(data.address) for rrset in answer.answer for data in rrset
                      if rrset.name == dns.name.from_text(self.names.name) and hasattr(data, "address")}
        return frozenset(found)

    async def _ask(self, server: _Server, message: dns.message.Message) -> dns.message.Message:
        """One question and its answer, both signed where there is a key. Raises NotPublishedError."""
        key = self._key()
        if key is not None:
            message.use_tsig(key, algorithm=key.algorithm)
        wire = await server.exchange(message.to_wire())
        try:
            answer = dns.message.from_wire(wire, keyring=message.keyring, request_mac=message.mac)
        except dns.exception.DNSException as error:
            if type(error) not in KEYS and len(wire) >= HEADER and wire[3] & 15:  # a refusal need not be signed to be believed
                raise self._refusal(dns.rcode.Rcode(wire[3] & 15)) from error
            seen, remedy = KEYS.get(type(error), (f"its answer cannot be read ({type(error).__name__}: {error})", ""))
            raise NotPublishedError(f"{self._at}: {seen.format(name=self.names.key_name)}", remedy) from error
        if not message.is_response(answer):
            raise NotPublishedError(f"{self._at}: its answer is to another question")
        if key is not None and not answer.had_tsig:
            raise NotPublishedError(f"{self._at}: its answer ({dns.rcode.to_text(answer.rcode())}) is not signed", "does it know the key?")
        return answer

    def _refusal(self, code: dns.rcode.Rcode) -> NotPublishedError:
        word, remedy = REFUSALS.get(code, (dns.rcode.to_text(code), ""))
        return NotPublishedError(f"{self._at} refuses {self.names.name}: {word}", remedy)

    def _key(self) -> dns.tsig.Key | None:
        if self.key_file is None:
            return None
        try:
            secret = secret_of(self.key_file.read_text())
            return dns.tsig.Key(self.names.key_name, secret, self.names.key_algorithm)
        except OSError as error:
            seen = f"the key file {self.key_file} cannot be read: {error.strerror}"
            raise NotPublishedError(seen, "mend it; it is read every time") from error
        except ValueError as error:  # binascii's, too
            seen = f"the key file {self.key_file} holds no key: {error}"
            raise NotPublishedError(seen, "it holds base64, or what tsig-keygen or keymgr wrote") from error

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_Server]:
        """A connection to the server. Everything together has `timeout` seconds."""
        try:
            with anyio.fail_after(self.names.timeout):
                async with await anyio.connect_tcp(self.names.server, self.names.port) as stream:
                    yield _Server(stream, BufferedByteReceiveStream(stream))
        except TimeoutError as error:
            seen = f"{self._at} did not answer within {self.names.timeout:g} s"
            raise NotPublishedError(seen, "is it overloaded, or cut off?") from error
        except (OSError, UnicodeError) as error:  # no host has such a name
            why = getattr(error, "strerror", None) or error
            raise NotPublishedError(f"{self._at} cannot be reached: {why}", "is it running?") from error
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise NotPublishedError(f"{self._at} hung up without an answer", "look into the server's log") from error


@frozen
class _Server:
    """A connection on which messages go as RFC 1035 4.2.2 has it: two bytes of length before each."""

    stream: Any
    buffered: BufferedByteReceiveStream

    async def exchange(self, wire: bytes) -> bytes:
        await self.stream.send(len(wire).to_bytes(2, "big") + wire)
        length = int.from_bytes(await self.buffered.receive_exactly(2), "big")
        return await self.buffered.receive_exactly(length)


def secret_of(text: str) -> str:
    """The secret in a key file: `secret "BASE64";` as tsig-keygen writes it, `secret: BASE64` as keymgr does, or BASE64 alone."""
    found = re.search(r"""\bsecret:?\s+"?([A-Za-z0-9+/=]+)""", text)
    return found[1] if found else text.strip()
