"""Does a node's firewall let the peer reach the replication port, and which commands would let it.

iptables-legacy was run against a real kernel; nftables and firewalld are read from captured forms (docs/configuration.md
says which is proven how). Only INPUT is judged: what a node sends is not ours to open.
"""

from __future__ import annotations

import re
from functools import lru_cache

from attrs import frozen

from states.vocabulary import Layer


@frozen
class Port:
    """State of the port layer, in words, and the commands that would open it."""

    state: Layer
    detail: str
    commands: tuple[str, ...] = ()


@lru_cache(64)
def read_port(text: str, peer: str, port: int) -> Port:
    """Judge the look's firewall section for one peer address and TCP port."""
    kinds = [part for part in re.split(r"^active ", text, flags=re.MULTILINE) if part.strip()]
    firewalld = any(part.startswith("firewalld") for part in kinds)
    if firewalld:
        return _firewalld(kinds, peer, port)
    found = Port(Layer.UP, "no firewall filters")
    for part in kinds:
        name, _, rules = part.partition("\n")
        verdict = _nft(rules, peer, port) if name.startswith("nft") else _iptables(name, rules, peer, port)
        if verdict.state is not Layer.UP:
            return verdict
        found = verdict
    return found


HARMLESS = frozenset({"", "ACCEPT", "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS", "SET", "CLASSIFY"})
"""Targets after which a packet goes on, or is let in."""


# -- iptables ----------------------------------------------------------------------------------------------------------

def _iptables(tool: str, rules: str, peer: str, port: int) -> Port:
    """Walk INPUT of `iptables -S` in order, as the kernel would for a new connection from the peer to the port."""
    policy = "ACCEPT"
    commands = tuple(
        f"{tool} -w 5 -I INPUT 1 -p tcp -s {peer} --{way} {port} -m comment --comment orchestrate -j ACCEPT" for way in ("dport", "sport")
    )
    for line in rules.splitlines():
        if line.startswith("-P INPUT "):
            policy = line.removeprefix("-P INPUT ").strip() or "unreadable"
        if not line.startswith("-A INPUT "):
            continue
        jump = re.search(r"-j (\S+)", line)
        target = jump[1] if jump else ""
        if target == "ACCEPT" and _accepts_peer(line, peer, port):
            return Port(Layer.UP, f"{tool} lets {peer} in: {line}")
        if target not in HARMLESS and _may_match(line, peer, port):  # DROP, REJECT, or a chain that may do so
            return Port(Layer.DOWN, f"{tool} blocks {peer}: {line}", commands)
    if policy != "ACCEPT":
        return Port(Layer.DOWN, f"{tool} blocks {peer}: the policy of INPUT is {policy}", commands)
    return Port(Layer.UP, f"{tool} has no rule against {peer}")


def _accepts_peer(line: str, peer: str, port: int) -> bool:
    source = re.search(r"-s (\S+)", line)
    dport = re.search(r"--dports? (\S+)", line)
    narrow = re.search(r" (-i|-m state|-m conntrack|--sport|--ctstate) ", line) is not None
    ours = source is None or source[1].split("/")[0] == peer
    if not ours or narrow or "! " in line:
        return False
    return _in(dport[1], port) if dport is not None else "-p " not in line


def _may_match(line: str, peer: str, port: int) -> bool:
    """A rule that could hit the peer's packets; what we cannot evaluate (interfaces, sets) counts as hitting."""
    source = re.search(r"(?<!! )-s (\S+)/32", line)
    dport = re.search(r"(?<!! )--dports? (\S+)", line)
    protocol = re.search(r"(?<!! )-p (\S+)", line)
    if protocol is not None and protocol[1] not in ("tcp", "all"):
        return False
    if source is not None and source[1] != peer:
        return False
    return " -i lo " not in line and (dport is None or _in(dport[1], port)) and "--ctstate INVALID" not in line


def _in(text: str, port: int) -> bool:
    for part in text.split(","):
        low, _, high = part.partition(":")
        if low.isdecimal() and (high or low).isdecimal() and int(low) <= port <= int(high or low):
            return True
    return False


# -- nftables and firewalld --------------------------------------------------------------------------------------------

def _nft(rules: str, peer: str, port: int) -> Port:
    """Every base chain of hook input has to let the peer in: by policy and no drop, or by a rule of ours."""
    for family, table, chain, policy, body in nft_input_chains(rules):
        ours = f"ip saddr {peer} tcp dport {port}"
        if ours in body:
            continue
        rest = re.sub(r"ct state (\S*invalid\S*) drop", "", body)
        blocks = policy == "drop" or re.search(r"\b(drop|reject|jump|goto|queue)\b", rest) is not None
        if blocks:
            command = f"nft insert rule {family} {table} {chain}"
            commands = tuple(f"{command} ip saddr {peer} tcp {way} {port} accept comment orchestrate" for way in ("dport", "sport"))
            return Port(Layer.DOWN, f"nft: chain {family} {table} {chain} (policy {policy}) does not let {peer} in", commands)
    return Port(Layer.UP, f"nft does not block {peer}")


def nft_input_chains(rules: str) -> list[tuple[str, str, str, str, str]]:
    """Base chains on hook input of family ip or inet: family, table, chain, policy, body."""
    found: list[tuple[str, str, str, str, str]] = []
    family = table = chain = ""
    policy, body, is_input = "accept", [""], False
    for raw in rules.splitlines():
        line = raw.strip()
        if line.startswith("table "):
            family, table = (*line.split(), "", "")[1:3]
        elif line.startswith("chain "):
            chain, policy, body, is_input = (*line.split(), "")[1], "accept", [], False
        elif "hook input" in line:
            is_input = family in ("ip", "inet")
            policy = (re.search(r"policy (\w+)", line) or ["", "accept"])[1]
        elif line == "}" and chain:
            if is_input:
                found.append((family, table, chain, policy, "\n".join(body)))
            chain = ""
        else:
            body.append(line)
    return found


def _firewalld(kinds: list[str], peer: str, port: int) -> Port:
    text = "\n".join(kinds)
    if f"ip saddr {peer} tcp dport {port}" in text or re.search(rf"-s {re.escape(peer)}/32 -p tcp .*--dport {port} .*-j ACCEPT", text):
        return Port(Layer.UP, f"firewalld lets {peer} in")
    rule = f"rule family=ipv4 source address={peer} port port={port} protocol=tcp accept"
    commands = (f"firewall-cmd --add-rich-rule='{rule}'", f"firewall-cmd --permanent --add-rich-rule='{rule}'")
    return Port(Layer.DOWN, f"firewalld is active and has no rule for {peer}", commands)
