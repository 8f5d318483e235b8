"""What `check` says of a cluster before anything is done: hazards, drift and half-truths, each with evidence and remedy. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from states.boot import BootFacts
from states.boot_order import order_findings
from states.facts import ClusterFacts, Generation, Side
from states.finding import Finding, Weight
from states.goal import Goal, Kind, Ledger, Refused, Wanted
from states.pair import Pair
from states.plan import plan
from states.recovery_rules import unread_record
from states.repair import releasable
from states.resource import classify
from states.stacks import plain_samba
from states.vocabulary import Layer, Resource

UNSEEN = "it cannot be seen"


def findings(goal: Goal, facts: ClusterFacts, boots: tuple[BootFacts, ...] = ()) -> tuple[Finding, ...]:
    """Everything there is to say, worst first. `boots`: what the nodes' boot starts, of those that could be asked."""
    found = [*(finding for look in CHECKS for finding in look(goal, facts)), *order_findings(goal, boots)]
    order = list(Weight)
    return tuple(sorted(found, key=lambda one: order.index(one.weight)))


def _reachable(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    voters = goal.stack.voters if goal.stack is not None else ()
    for node in facts.nodes:
        if not node.reachable:
            until = "one more that is lost, and there is no quorum" if node.name in voters else "it counts as Primary and mounted"
            yield Finding(Weight.PROBLEM, node.name, UNSEEN, node.why, f"make it reachable; until then {until}")


def _versions(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    seen = {node.name: node.version for node in facts.nodes if node.reachable and node.generation is not Generation.UNKNOWN}
    if len({version.split("-", maxsplit=1)[0] for version in seen.values()}) > 1:
        words = ", ".join(f"{name} has {version}" for name, version in seen.items())
        yield Finding(Weight.NOTE, "drbd", "the nodes run different versions of DRBD", words, "bring both to the same, one at a time")


def _boot(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    for node in facts.nodes:
        fact = node.layer("boot")
        if node.reachable and fact.state is Layer.DOWN:
            sysv = all(word.startswith("/etc/rc") for word in fact.detail.split())  # links of run levels, no units
            by_hand = "chkconfig SERVICE off (Debian: update-rc.d SERVICE disable)" if sysv else "systemctl disable ..."
            yield Finding(Weight.DANGER, node.name, "parts of the stack start by themselves at boot, in an order of their own", fact.detail,
                          f"`orchestrate up` takes them out of the boot; or: {by_hand}")


def _backing(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    for wanted in goal.resources:
        for node in wanted.nodes:
            side = facts.node(node).side(wanted.name)
            if side.holders and not side.attached:
                what = f"something has the backing disk of {wanted.name} behind DRBD's back"
                yield Finding(Weight.DANGER, node, what, ", ".join(side.holders), _letting_go(wanted, side))
            if side.touched:
                yield Finding(Weight.DANGER, node, f"the backing disk of {wanted.name} was in use behind DRBD's back",
                              "/var/lib/orchestrate/touched says so" + (", and it was mounted" if side.mounted_behind else ""),
                              "that side is not UpToDate, whatever DRBD says: docs/hazards.md, `LVM under DRBD`")


def _letting_go(wanted: Wanted, side: Side) -> str:
    """What to do about a backing disk that somebody has."""
    if any(holder.startswith("mount:") for holder in side.holders):
        return "unmount it first: what was written there is on this node only"
    if wanted.repairs and releasable(side):
        return "`orchestrate up` takes the volumes away and copies that side anew"
    return "stop what uses it (vgchange -an); then that side is not UpToDate, whatever DRBD says: docs/hazards.md, `LVM under DRBD`"


def _ports(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    for wanted in goal.resources:
        for node in wanted.nodes:
            fact = facts.node(node).layer("port")
            if "port" in wanted.layers and fact.state is Layer.DOWN:
                yield Finding(Weight.NOTE, node, f"its packet filter keeps the other node out, from {wanted.name} or from the cluster",
                              fact.detail, "`orchestrate up` adds rules for just these ports, from that address alone; the filter stays on")


def _never_synced(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    for wanted in goal.resources:
        if classify(Pair.of(facts, wanted, Ledger())) is Resource.INCONSISTENT:
            yield Finding(Weight.NOTE, wanted.name, "neither side is UpToDate: until one is declared good, nothing can be Primary",
                          "both are Inconsistent and just created", "`orchestrate up` declares one good, and copies it to the other")


def _volumes(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    for placed in goal.stack.layers if goal.stack is not None else ():
        for node in placed.nodes:
            fact = facts.node(node).layer(placed.name)
            if fact.state in (Layer.FAILED, Layer.HUNG):
                weight = Weight.DANGER if placed.spec.data else Weight.PROBLEM
                what = f"{placed.name} is {fact.state.value}"
                yield Finding(weight, node, what, fact.detail, "see `orchestrate plan` for what `up` makes of it")


def _pairs(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    bad = {Resource.SPLIT_BRAIN, Resource.DIVERGED, Resource.UNRELATED, Resource.SUSPECT, Resource.FROZEN}
    for wanted in goal.resources:
        pair = Pair.of(facts, wanted, Ledger())
        state = classify(pair)
        if state in bad:
            yield Finding(Weight.DANGER, wanted.name, f"it is {state.value}", pair.prediction.why, "docs/split-brain.md")


def _records(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    for wanted in goal.resources:
        unread = unread_record(facts, wanted)
        if unread is not None:
            yield Finding(Weight.PROBLEM, wanted.name, "whether a recovery was begun cannot be told: until then nothing is discarded",
                          *unread)


def _fencing(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    stack = goal.stack
    if stack is None:
        for wanted in goal.resources:
            if wanted.primaries == 2:
                yield Finding(Weight.DANGER, wanted.name, "two Primaries and no fencing", _accepted(wanted.accept_no_fencing),
                              "with a file system on it ([filesystem.NAME]) fencing can be configured")
        return
    if stack.fencing == "none":
        what = "there is none: nodes that lose each other both go on writing"
        yield Finding(Weight.DANGER, "fencing", what, _accepted(stack.accept_no_fencing),
                      "give each node a [node.NAME.fence]")
    if stack.fencing == "manual":
        yield Finding(Weight.NOTE, "fencing", "a human is the fence: when the nodes lose each other both stop", "method = \"manual\"",
                      "then: switch one off, and `orchestrate fence-ack NODE`")


def _accepted(accepted: bool) -> str:
    return "accepted in cluster.toml" if accepted else "and it is not accepted either: `up` will refuse"


def _samba(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    danger = plain_samba(goal.stack)
    if danger:
        yield Finding(Weight.DANGER, "samba", danger, '[samba] clustering = "plain"', 'clustering = "ctdb", or serve_on = ["ONE-NODE"]')


def _way(goal: Goal, facts: ClusterFacts) -> Iterator[Finding]:
    """What `up` itself would say."""
    refused = plan(goal, facts).refused
    if isinstance(refused, Refused) and refused.rule != "fresh-facts" and refused.kind is not Kind.UNREACHABLE:
        yield Finding(Weight.PROBLEM, "up", f"it would refuse: {refused.what} (rule {refused.rule})", refused.evidence, refused.remedy)


def exit_code(found: tuple[Finding, ...]) -> int:
    """6 where a node was not seen, 3 where there is danger or a refusal, else 0."""
    if any(one.what == UNSEEN for one in found):
        return Kind.UNREACHABLE.value
    return Kind.RULE.value if any(one.weight is not Weight.NOTE for one in found) else 0


Check = Callable[[Goal, ClusterFacts], Iterator[Finding]]
CHECKS: tuple[Check, ...] = (_reachable, _versions, _boot, _backing, _ports, _never_synced, _volumes, _pairs, _records, _fencing,
                             _samba, _way)
