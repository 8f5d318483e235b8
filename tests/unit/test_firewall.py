"""Does the firewall let the peer in: iptables-legacy as real kernels print it, nftables and firewalld in their documented forms."""

from __future__ import annotations

import pytest

from orchestrator.probes.firewall import read_port
from states.vocabulary import Layer

PEER, PORT = "10.98.0.11", 7789
UP, DOWN = Layer.UP, Layer.DOWN
OPEN = ("-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-P OUTPUT ACCEPT")
CLOSED = ("-P INPUT DROP", "-P FORWARD DROP", "-P OUTPUT ACCEPT")
OURS = "-A INPUT -s 10.98.0.11/32 -p tcp -m tcp --dport 7789 -m comment --comment orchestrate -j ACCEPT"

IPTABLES = [
    # rules                                                                    state
    (OPEN, UP),
    (CLOSED, DOWN),
    ((*OPEN, "-A INPUT -i vec1 -p tcp -j DROP"), DOWN),
    ((*OPEN, "-A INPUT -i vec1 -p tcp -j REJECT --reject-with tcp-reset"), DOWN),
    ((*OPEN, OURS, "-A INPUT -i vec1 -p tcp -j DROP"), UP),
    ((*OPEN, "-A INPUT -i vec1 -p tcp -j DROP", OURS), DOWN),
    ((*CLOSED, OURS), UP),
    ((*CLOSED, "-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -i lo -j ACCEPT"), DOWN),
    ((*CLOSED, "-A INPUT -p tcp -m tcp --dport 7788:7799 -j ACCEPT"), UP),
    ((*CLOSED, "-A INPUT -p tcp -m multiport --dports 22,7789 -j ACCEPT"), UP),
    ((*CLOSED, "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"), DOWN),
    ((*OPEN, "-A INPUT -p udp -j DROP", "-A INPUT -s 192.0.2.1/32 -j DROP", "-A INPUT -p tcp -m tcp --dport 25 -j DROP"), UP),
    ((*OPEN, "-A INPUT -j MYCHAIN", "-A MYCHAIN -j DROP"), DOWN),
    ((*OPEN, "-A INPUT -m conntrack --ctstate INVALID -j DROP"), UP),
    ((*OPEN, "-A INPUT -j LOG --log-prefix in"), UP),
    (("-P INPUT ",), DOWN),
    ((*OPEN, "-A INPUT -p tcp -m tcp --dport 7789:x -j DROP"), UP),
]


@pytest.mark.parametrize(("rules", "state"), IPTABLES)
def test_iptables(rules: tuple[str, ...], state: Layer) -> None:
    port = read_port("active iptables-legacy\n" + "\n".join(rules), PEER, PORT)
    assert port.state is state
    assert bool(port.commands) is (state is DOWN)


def test_what_we_add_is_what_we_accept() -> None:
    """The first rule our command inserts opens the port in the eyes of the same judge."""
    closed = read_port("active iptables-legacy\n" + "\n".join(CLOSED), PEER, PORT)
    dport = closed.commands[0]
    assert dport == f"iptables-legacy -w 5 -I INPUT 1 -p tcp -s {PEER} --dport {PORT} -m comment --comment orchestrate -j ACCEPT"
    assert read_port("active iptables-legacy\n" + "\n".join((CLOSED[0], OURS)), PEER, PORT).state is UP


def nft(policy: str, *rules: str, table: str = "inet filter") -> str:
    """A ruleset as `nft list ruleset` prints it."""
    body = "\n".join(f"\t\t{rule}" for rule in rules)
    hook = f"\t\ttype filter hook input priority filter; policy {policy};"
    return f"active nft\ntable {table} {{\n\tchain input {{\n{hook}\n{body}\n\t}}\n}}\n"


@pytest.mark.parametrize(("text", "state"), [
    ("active nft\n", UP),
    (nft("accept"), UP),
    (nft("drop"), DOWN),
    (nft("accept", "tcp dport 25 drop"), DOWN),
    (nft("accept", "ct state invalid drop"), UP),
    (nft("accept", "jump other"), DOWN),
    (nft("drop", f'ip saddr {PEER} tcp dport {PORT} accept comment "orchestrate"'), UP),
    (nft("drop", table="ip6 filter"), UP),
    ("active nft\ntable ip\nchain\n", UP),
])
def test_nftables(text: str, state: Layer) -> None:
    port = read_port(text, PEER, PORT)
    assert port.state is state
    if state is DOWN:
        assert port.commands[0] == f"nft insert rule inet filter input ip saddr {PEER} tcp dport {PORT} accept comment orchestrate"


def test_firewalld() -> None:
    closed = read_port("active firewalld\nactive nft\n" + nft("drop"), PEER, PORT)
    assert closed.state is DOWN
    assert all("port=7789" in command and PEER in command for command in closed.commands)
    assert any("--permanent" in command for command in closed.commands)
    opened = f"active firewalld\nactive nft\n\t\tip saddr {PEER} tcp dport {PORT} ct state {{ new, untracked }} accept"
    assert read_port(opened, PEER, PORT).state is UP


def test_nothing_filters() -> None:
    assert read_port("", PEER, PORT).state is UP
