"""[supervise] of cluster.toml: what a supervisor may do by itself, whom it tells, and which names it keeps.

Times are seconds. Everything has a default that is safe: it repairs what loses nothing, listens on the loopback only,
and tells nobody but its log.
"""

from __future__ import annotations

import ipaddress
import re

from attrs import Factory, field, frozen

POLICIES = ("repair", "observe", "off")
"""May act; only watches and tells; is left out altogether."""
BACK_ENDS = ("", "dns", "exec", "hosts")
DNS_NAME = r"(?=.{0,253}\Z)(([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?)?"
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha224", "hmac-sha1", "hmac-md5")
"""Of TSIG keys. The last two are for servers that know nothing better."""


@frozen
class AlertsSection:
    """[supervise.alerts]: `command` gets an alert as JSON on stdin; `webhook` is a URL it is posted to, signed with what
    `webhook_secret_file` holds; `mail_to` goes through the machine's own sendmail. An alert that stays is told again
    every `repeat` seconds (0: once)."""

    command: tuple[str, ...] = ()
    webhook: str = field(default="", repr=False)  # its path is often a password
    webhook_secret_file: str = ""
    mail_to: tuple[str, ...] = ()
    mail_from: str = "orchestrate"
    repeat: float = 14400.0


@frozen
class NamesSection:
    """[supervise.names]: one name whose addresses are those of the healthy nodes.

    `backend`: "dns" (RFC 2136 to `server`, `port`, signed with the TSIG key `key_name` from `key_file`), "exec" (`command`,
    with the records as JSON on stdin), "hosts" (`file`), or "" for none. `addresses`: node to the address clients use,
    where it is not `[node.X] address`. A node whose one-minute load per core is above `load_high` (0: never) or that has more
    than `sessions_high` SMB sessions is left out until it is below the `_low` ones. `keep_last`: the last one stays, healthy or not.
    """

    backend: str = ""
    name: str = ""
    zone: str = ""
    server: str = ""
    port: int = 53
    key_name: str = ""
    key_file: str = ""
    key_algorithm: str = "hmac-sha256"
    ttl: int = 10
    timeout: float = 2.0
    command: tuple[str, ...] = ()
    file: str = ""
    addresses: dict[str, tuple[str, ...]] = Factory(dict)
    load_high: float = 0.0
    load_low: float = 0.0
    sessions_high: int = 0
    sessions_low: int = 0
    keep_last: bool = True


@frozen
class SuperviseSection:
    """[supervise]: `policy` for everything, `resources` and `layers` by name where they differ.

    `sweep`: how often a node's own follower compares what announces nothing. `look_every`: a full look, though nothing has
    happened. `flaps` repairs of one thing within `flap_window` are enough: then it waits for a human. `listen`: address:port
    of /metrics, /healthz and /readyz ("" for none).
    """

    policy: str = "repair"
    resources: dict[str, str] = Factory(dict)
    layers: dict[str, str] = Factory(dict)
    sweep: float = 1.0
    look_every: float = 300.0
    flaps: int = 3
    flap_window: float = 600.0
    listen: str = "127.0.0.1:9943"
    alerts: AlertsSection = Factory(AlertsSection)
    names: NamesSection = Factory(NamesSection)


SECTIONS = (AlertsSection, NamesSection, SuperviseSection)


def supervise_problems(section: SuperviseSection, nodes: tuple[str, ...], resources: tuple[str, ...]) -> list[str]:
    """What cannot be meant, each as `key: what was expected`."""
    found = [f"supervise.{key}: one of {', '.join(POLICIES)} was expected, found {value!r}"
             for key, value in _policies(section) if value not in POLICIES]
    found += [f"supervise.resources.{name}: no such resource" for name in section.resources if name not in resources]
    if section.listen and not re.fullmatch(r"(\S+):([0-9]{1,5})", section.listen):
        found.append(f'supervise.listen: "ADDRESS:PORT" was expected, found {section.listen!r}')
    for key, least in (("sweep", 0.2), ("look_every", 5.0), ("flap_window", 1.0)):
        if getattr(section, key) < least:
            found.append(f"supervise.{key}: at least {least} s was expected, found {getattr(section, key)}")
    return found + _alerts_problems(section.alerts) + _names_problems(section.names, nodes)


def _policies(section: SuperviseSection) -> list[tuple[str, str]]:
    named = [("policy", section.policy)]
    named += [(f"resources.{name}", value) for name, value in section.resources.items()]
    return named + [(f"layers.{name}", value) for name, value in section.layers.items()]


def _alerts_problems(alerts: AlertsSection) -> list[str]:
    at = "supervise.alerts"
    found = []
    if alerts.command and not alerts.command[0]:
        found.append(f"{at}.command: a program was expected, found {list(alerts.command)!r}")
    if alerts.webhook and not re.fullmatch(r"https?://[^\s/]\S*", alerts.webhook):
        found.append(f'{at}.webhook: "https://HOST/..." was expected')  # what it is may be a secret
    if alerts.webhook_secret_file and not alerts.webhook:
        found.append(f"{at}.webhook_secret_file: there is no webhook that it could sign")
    for key, addresses in (("mail_to", alerts.mail_to), ("mail_from", (alerts.mail_from,))):
        found += [f"{at}.{key}: a mail address was expected, found {one!r}" for one in addresses
                  if not re.fullmatch(r"[^\s-]\S*", one, re.ASCII)]
    if alerts.repeat < 0:
        found.append(f"{at}.repeat: 0 or more seconds were expected, found {alerts.repeat}")
    return found


def _names_problems(names: NamesSection, nodes: tuple[str, ...]) -> list[str]:
    at = "supervise.names"
    if names.backend not in BACK_ENDS:
        return [f"{at}.backend: one of {', '.join(BACK_ENDS[1:])} was expected, found {names.backend!r}"]
    needs = {"dns": ("name", "zone", "server"), "exec": ("name", "command"), "hosts": ("name", "file")}.get(names.backend, ())
    found = [f"{at}.{key}: the back end {names.backend} needs it" for key in needs if not getattr(names, key)]
    found += [f"{at}.addresses.{node}: no such node; nodes are {', '.join(nodes)}" for node in names.addresses if node not in nodes]
    if names.backend == "dns" and not f".{names.name.rstrip('.')}".endswith(f".{names.zone.rstrip('.')}"):
        found.append(f"{at}.name: a name in the zone {names.zone} was expected, found {names.name}")
    if names.key_algorithm not in ALGORITHMS:
        found.append(f"{at}.key_algorithm: one of {', '.join(ALGORITHMS)} was expected, found {names.key_algorithm!r}")
    found += [f"{at}.{key}: a name of letters, digits, _, - and dots was expected, found {getattr(names, key)!r}"
              for key in ("name", "zone", "key_name") if not re.fullmatch(DNS_NAME, getattr(names, key))]
    for key, low, high in (("port", 1, 65535), ("ttl", 0, 86400), ("timeout", 0.1, 60)):
        if not low <= getattr(names, key) <= high:
            found.append(f"{at}.{key}: a number from {low} to {high} was expected, found {getattr(names, key)}")
    if bool(names.key_name) != bool(names.key_file):
        found.append(f"{at}.key_file: key_name and key_file belong together")
    for kind in ("load", "sessions"):
        high, low = getattr(names, f"{kind}_high"), getattr(names, f"{kind}_low")
        if high and not 0 < low <= high:
            found.append(f"{at}.{kind}_low: above 0 and at most {kind}_high ({high}) was expected, found {low}")
    return found


def address_problems(names: NamesSection, nodes: dict[str, str]) -> list[str]:
    """What is wrong with the addresses clients are sent to. `nodes`: those with storage, and where SSH reaches them."""
    if not names.backend:
        return []
    found, owners = [], dict[str, str]()
    for node, address in nodes.items():
        for one in names.addresses.get(node) or (address,):
            if not is_address(one):
                found.append(f"supervise.names.addresses.{node}: an IP address was expected, found {one!r}")
            elif owners.setdefault(one, node) != node:
                found.append(f"supervise.names.addresses.{node}: {one} is node {owners[one]}'s already")
    return found


def is_address(text: str) -> bool:
    """An IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
