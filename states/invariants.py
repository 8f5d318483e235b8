"""Rules that always hold: named predicates over facts and one step. A rule answers with what was seen, or with None.

They are asked three times: when a step is decided, right before it is sent, and by the search that tries to break them.
No rule trusts that another one was asked.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from states import recovery_rules as losses
from states.facts import ClusterFacts, Generation, Side
from states.goal import DESTRUCTIVE, Do, Goal, Ledger, Step, Wanted
from states.handshake import Verdict, discards_nothing
from states.identifiers import Identifiers, same
from states.pair import Pair, blank_pair
from states.reach import said_off
from states.recovery_rules import Loss
from states.repair import peer_has_all, releasable
from states.settings import auto_discard, differing
from states.stack import stack_stands_on
from states.stacks import spec
from states.unasked import unasked
from states.verify import not_comparable
from states.vocabulary import Contents, DiskState, Layer, Metadata, Role


@frozen
class Violation:
    """A step that must not be sent: the rule, what was seen, and what to type next."""

    rule: str
    evidence: str
    remedy: str


@frozen
class Asked:
    """What a rule is asked about."""

    facts: ClusterFacts
    step: Step
    wanted: Wanted
    goal: Goal
    ledger: Ledger = field(factory=Ledger)

    @property
    def side(self) -> Side:
        """The side the step acts on."""
        return self.facts.node(self.step.node).side(self.step.resource)

    @property
    def peer(self) -> Side:
        """The other side."""
        other = next(name for name in self.wanted.nodes if name != self.step.node)
        return self.facts.node(other).side(self.step.resource)

    @property
    def loss(self) -> Loss:
        """The same question, of somebody's changes."""
        return Loss(self.facts, self.step, self.wanted, self.goal, self.ledger)

    @property
    def pair(self) -> Pair:
        """Both, with the handshake predicted."""
        return Pair.of(self.facts, self.wanted, Ledger())


Check = Callable[[Asked], tuple[str, str] | None]


def _no_create_md(asked: Asked) -> tuple[str, str] | None:
    side = asked.side
    if side.holders:
        return f"the device is in use by {', '.join(side.holders)}", "stop what uses it, or name another disk"
    if side.metadata is Metadata.VALID:
        return "it already has DRBD metadata", "look again: orchestrate status"
    if side.contents in (Contents.BLANK, Contents.ZEROS):
        return None
    if side.contents is Contents.DATA:
        return (
            f"the device is not blank: {side.signature or 'it holds data'}",
            "name another disk in cluster.toml, or wipe this one yourself if nothing on it is wanted (wipefs -a, then dd zeros)",
        )
    return "it could not be seen whether the device is blank", "look again: orchestrate status"


def _no_force_primary(asked: Asked) -> tuple[str, str] | None:
    pair = asked.pair
    full = [side.node for side in pair.sides if not _untouched(side)]
    if full:
        return f"{full[0]} holds something under its new metadata, or was not read", "see docs/split-brain.md, `both inconsistent`"
    if not blank_pair(pair):
        return "a side holds data that was once good, or its identifiers are unknown", "only two just-created sides may be forced"
    if any(side.disk is not DiskState.INCONSISTENT for side in pair.sides):
        return f"disks are {pair.sides[0].disk.value}/{pair.sides[1].disk.value}", "only Inconsistent/Inconsistent may be forced"
    if pair.primaries:
        return f"{pair.primaries[0].node} is Primary already", "look again: orchestrate status"
    return None if pair.met else ("the sides are not connected", "both sides must be connected for the first sync")


def _untouched(side: Side) -> bool:
    """What the device holds was read, and it is nothing."""
    return side.contents in (Contents.BLANK, Contents.ZEROS)


def _skip_only_zeros(asked: Asked) -> tuple[str, str] | None:
    seen = {side.node: side.contents for side in asked.pair.sides}
    bad = [node for node, contents in seen.items() if contents is not Contents.ZEROS]
    if not bad:
        return None
    return f"{', '.join(bad)} was not seen to read as zeros throughout", "set skip_initial_sync = false"


def _look_before_connect(asked: Asked) -> tuple[str, str] | None:
    if losses.covered(asked.loss):
        return None
    pair, prediction = asked.pair, asked.pair.prediction
    if asked.step.do is Do.ATTACH and not asked.side.trying:
        return None  # attaching is connecting only where the link is up
    if asked.step.do is Do.ATTACH and asked.side.role is Role.PRIMARY and not asked.peer.attached and _peer_is_newer(asked):
        seen = f"{asked.side.node} is Primary, both disks are gone, and that of {asked.peer.node} is the newer"
        return seen, f"on {asked.peer.node}: drbdadm attach {asked.wanted.name}, then run again"
    if prediction.verdict is Verdict.UNKNOWN:
        armed = asked.step.do is Do.ATTACH and asked.side.identifiers is not None and asked.peer.identifiers is not None
        apart = f"on {asked.side.node}: drbdadm disconnect {asked.wanted.name}, then run again: apart, its disk can be attached in peace"
        return f"the handshake cannot be predicted: {prediction.why}", apart if armed else "look again: orchestrate status"
    if not prediction.connects or not discards_nothing(prediction):
        return f"connecting would end in {prediction.verdict.value}: {prediction.why}", "nothing was connected; see docs/split-brain.md"
    target = None if prediction.source is None else pair.sides[1 - prediction.source]
    full = [side.node for side in pair.sides if not _untouched(side)]
    if prediction.verdict is Verdict.BOTH_NEW and full:
        return f"{full[0]} holds something under its new metadata, or was not read", "see docs/split-brain.md, `both inconsistent`"
    new = target is not None and target.identifiers is not None and target.identifiers.just_created
    if target is not None and new and not _untouched(target) and not _first_copy_cut_short(asked):
        seen = f"{target.node} would be overwritten, and it holds something under its new metadata, or was not read"
        return seen, "see docs/split-brain.md, `both inconsistent`"
    marked = sum(side.out_of_sync or 0 for side in pair.sides)
    nine = any(asked.facts.node(name).generation is Generation.V9 for name in asked.wanted.nodes)
    if nine and marked and prediction.verdict is Verdict.IN_SYNC:
        seen = f"DRBD 9 would connect and erase the marks of {marked} KiB out of sync"
        whole = any(side.disk is not DiskState.INCONSISTENT for side in pair.sides)
        return seen, "drbdadm invalidate --reset-bitmap=no on the bad side" if whole else "see docs/split-brain.md, `both inconsistent`"
    return None


def _peer_is_newer(asked: Asked) -> bool:
    """The handshake would copy from the peer: what it took for a Primary without a disk may be on no other."""
    source = asked.pair.prediction.source
    return source is not None and asked.pair.sides[source].node == asked.peer.node


def _first_copy_cut_short(asked: Asked) -> bool:
    """What the just created target holds is part of a first copy of ours: DRBD 9's target keeps "just created" until its end.

    The source's node remembers that it was forced by us, which is only done to two blank sides, and its bitmap identifier
    says that the resync is still open.
    """
    source = asked.pair.prediction.source
    if source is None:
        return False
    side = asked.pair.sides[source]
    forced = any(
        claim.step == Do.FORCE_PRIMARY.value and claim.resource == asked.wanted.name and claim.code == 0
        for claim in asked.facts.node(side.node).claims
    )
    return forced and side.identifiers is not None and side.identifiers.bitmap != 0


def _backing_touched(asked: Asked) -> tuple[str, str] | None:
    for side in asked.pair.sides:
        if side.touched and not side.holders:  # while it is still held, no-lvm-under-drbd says so
            return (
                f"the backing device of {side.node} was in use behind DRBD's back: it is not UpToDate, whatever DRBD says",
                f"on {side.node}: drbdadm invalidate {asked.wanted.name}, then rm /var/lib/orchestrate/touched/{asked.wanted.name}",
            )
    return None


def _only_unused_volumes(asked: Asked) -> tuple[str, str] | None:
    if asked.side.attached:
        return "DRBD has the disk", "look again: orchestrate status"
    return None if releasable(asked.side) else _no_lvm_under_drbd(asked)


def _peer_has_all(asked: Asked) -> tuple[str, str] | None:
    why = peer_has_all(asked.pair, asked.side)
    return None if why is None else (why, "see docs/hazards.md, `LVM under DRBD`")


def _no_auto_discard(asked: Asked) -> tuple[str, str] | None:
    return auto_discard(asked.wanted.net, asked.side.running, accepted=asked.wanted.accept_auto_discard)


def _no_discarding_config(asked: Asked) -> tuple[str, str] | None:
    """What is written counts: a file that is to replace such a policy has to be let through."""
    return auto_discard(asked.wanted.net, accepted=asked.wanted.accept_auto_discard) if asked.step.layer == "config" else None


def _same_settings(asked: Asked) -> tuple[str, str] | None:
    if asked.step.do is Do.ATTACH and not asked.side.trying:
        return None
    for node in asked.wanted.nodes:
        side = asked.facts.node(node).side(asked.wanted.name)
        for name, here, there in differing(asked.wanted.net, side.running):
            return (
                f"{name} is {there!r} in the running kernel of {node}, cluster.toml wants {here!r}",
                "run `orchestrate down`, then `orchestrate up`; or make cluster.toml say what runs",
            )
    return None


def _config_drift(asked: Asked) -> tuple[str, str] | None:
    if asked.goal.apply_config:
        return None
    fact = asked.facts.node(asked.step.node).layer(asked.step.layer)
    return f"{fact.detail}", "make cluster.toml say the same, or run again with --apply-config"


def _layer_needs_lower(asked: Asked) -> tuple[str, str] | None:
    node = asked.facts.node(asked.step.node)
    for name in spec(asked.step.layer).needs:
        if node.layer(name).state is not Layer.UP:
            return f"{name} is {node.layer(name).state.value} on {node.name}", f"{name} has to be Up first"
    return None


def _no_lvm_under_drbd(asked: Asked) -> tuple[str, str] | None:
    if not asked.side.holders or asked.side.attached:
        return None
    return (
        f"the backing device is in use by {', '.join(asked.side.holders)}: its data may have changed behind DRBD's back",
        "stop what uses it (umount, vgchange -an), then treat this side as not UpToDate: docs/hazards.md",
    )


def _promote_up_to_date(asked: Asked) -> tuple[str, str] | None:
    if asked.side.disk is DiskState.UP_TO_DATE and asked.pair.met:
        return None
    seen = f"its disk is {asked.side.disk.value}, the link {asked.side.connection.value}"
    return seen, "wait until both sides are connected and UpToDate"


def _dual_primary_gate(asked: Asked) -> tuple[str, str] | None:
    pair, wanted = asked.pair, asked.wanted
    if not pair.at_rest:
        disks = "/".join(side.disk.value for side in pair.sides)
        return f"the link is {'up' if pair.met else 'down'}, disks are {disks}", "both must be connected and UpToDate"
    for side in pair.sides:
        running = dict(side.running)
        for name, needed in (("allow-two-primaries", "yes"), ("protocol", "C")):
            if running.get(name) != needed:
                seen = f"{name} is {running.get(name, 'not set')!r} in the running kernel of {side.node}"
                return seen, f"two Primaries need {name} {needed}"
    if wanted.fencing == "dont-care" and not wanted.accept_no_fencing:
        return "no fencing is configured: a lost link would become split brain", "configure fencing, or write accept_no_fencing = true"
    return None


def _unknown_is_not_down(asked: Asked) -> tuple[str, str] | None:
    gone = asked.goal.gone(asked.facts)
    for name in asked.wanted.nodes:
        if not asked.facts.node(name).reachable and name not in gone:
            seen = f"{name} could not be seen: {asked.facts.node(name).why}"
            return seen, f"make {name} reachable; it counts as Primary until it is fenced"
    if asked.peer.node in gone:
        return None
    return None if asked.peer.role is not Role.UNKNOWN else (f"the role of {asked.peer.node} is unknown", "look again: orchestrate status")


def _stop_from_top(asked: Asked) -> tuple[str, str] | None:
    standing_on = stack_stands_on(asked.goal, asked.facts, asked.wanted)
    return (standing_on, "what stands on the resource has to be Down first") if standing_on else None


def _no_start_alone_on_stale(asked: Asked) -> tuple[str, str] | None:
    """Alone means: the data served is the newest that anybody knows of. DRBD itself only knows what this side last heard."""
    side = asked.side
    if asked.step.do is Do.PROMOTE_ALONE and side.disk not in (DiskState.UP_TO_DATE, DiskState.CONSISTENT):
        return f"its disk is {side.disk.value}", "start the node with the good data"
    if side.identifiers is None:
        return "its identifiers are not known", "look again: orchestrate status"
    stale = stale_words(asked.ledger, asked.wanted.name, side)
    return None if stale is None else (stale, START_THE_OTHER)


START_THE_OTHER = "start the node with the newer data; if that is lost for good, see docs/split-brain.md"


def stale_words(ledger: Ledger, resource: str, side: Side) -> str | None:
    """Which record of any side says that this one's data is not the newest; None where every record is part of its past."""
    for name, node, known in ledger.newest:
        if name == resource and side.identifiers is not None and not known.just_created and not descends(side.identifiers, known):
            return f"{node} was seen with {known}, which is not in the past of this side's {side.identifiers}"
    return None


def descends(own: Identifiers, known: Identifiers) -> bool:
    """The data is the same as what was known, or came after it."""
    return any(same(known.current, one) for one in (own.current, own.bitmap, *own.history))


def _not_the_last_good_copy(asked: Asked) -> tuple[str, str] | None:
    """One node is taken down only while the other has all the data."""
    if not asked.goal.only or asked.peer.disk is DiskState.UP_TO_DATE or asked.peer.node in asked.goal.only:
        return None
    if asked.side.disk is not DiskState.UP_TO_DATE:
        return None
    seen = f"the disk of {asked.peer.node} is {asked.peer.disk.value}: {asked.side.node} has the only good copy"
    return seen, "wait until both are UpToDate, or take both down: orchestrate down"


def _only_beside_an_absent(asked: Asked) -> tuple[str, str] | None:
    if asked.peer.node in asked.goal.gone(asked.facts):
        return None
    return f"{asked.peer.node} is not known to be off", said_off(asked.goal, asked.peer.node)


@frozen
class Rule:
    """A named rule and the kinds of steps it judges."""

    name: str
    judges: frozenset[Do]
    check: Check


def _one_victim(asked: Asked) -> tuple[str, str] | None:
    """Who loses, of the steps that lead there; of every other that ends something for ever, that no record of it is unread."""
    recovers = asked.step.do in (Do.DISCARD, Do.SAVE, Do.RECORD_CONSENT)
    return losses.one_victim(asked.loss) if recovers else losses.every_record_read(asked.loss)


def _rule(name: str, check: Check, *judges: Do) -> tuple[str, Rule]:
    return name, Rule(name, frozenset(judges), check)


RULES: dict[str, Rule] = dict((
    _rule("nobody-asked", lambda asked: unasked(asked.facts, asked.step, asked.goal, asked.wanted.nodes), *Do),
    _rule("no-create-md", _no_create_md, Do.CREATE_METADATA),
    _rule("no-force-primary", _no_force_primary, Do.FORCE_PRIMARY, Do.CLEAR_BITMAP),
    _rule("skip-only-zeros", _skip_only_zeros, Do.CLEAR_BITMAP),
    _rule("look-before-connect", _look_before_connect, Do.CONNECT, Do.ATTACH),
    _rule("no-lvm-under-drbd", _no_lvm_under_drbd, Do.CREATE_METADATA, Do.ATTACH),
    _rule("only-unused-volumes", _only_unused_volumes, Do.RELEASE),
    _rule("peer-has-all", _peer_has_all, Do.DISTRUST),
    _rule("backing-touched", _backing_touched, Do.CONNECT, Do.ATTACH, Do.PROMOTE, Do.PROMOTE_ALONE),
    _rule("same-settings", _same_settings, Do.CONNECT, Do.ATTACH, Do.PROMOTE),
    _rule("no-auto-discard", _no_auto_discard, Do.CONNECT, Do.ATTACH, Do.PROMOTE),
    _rule("no-discarding-config", _no_discarding_config, Do.START_LAYER),
    _rule("config-drift", _config_drift),
    _rule("layer-needs-lower", _layer_needs_lower, Do.START_LAYER),
    _rule("promote-up-to-date", _promote_up_to_date, Do.PROMOTE),
    _rule("dual-primary-gate", _dual_primary_gate),
    _rule("no-start-alone-on-stale", _no_start_alone_on_stale, Do.PROMOTE_ALONE),
    _rule("alone-needs-fenced-peer", _only_beside_an_absent, Do.PROMOTE_ALONE),
    _rule("never-stop-the-only-good", _not_the_last_good_copy, Do.DEMOTE, Do.TAKE_DOWN),
    _rule("stop-from-top", _stop_from_top, Do.DEMOTE, Do.TAKE_DOWN),
    _rule("unknown-is-not-down", _unknown_is_not_down, Do.PROMOTE, Do.FORCE_PRIMARY, Do.CLEAR_BITMAP, Do.CONNECT, Do.TAKE_DOWN, Do.DISCARD,
          Do.VERIFY),
    _rule("no-discard-without-consent", lambda asked: losses.consented(asked.loss), Do.DISCARD, Do.SAVE, Do.RECORD_CONSENT),
    _rule("one-victim", _one_victim, *DESTRUCTIVE, Do.SAVE, Do.RECORD_CONSENT, Do.RECORD_ARCHIVE),
    _rule("victim-is-idle", lambda asked: losses.victim_is_idle(asked.loss), Do.DISCARD, Do.SAVE),
    _rule("never-discard-the-only-good", lambda asked: losses.survivor_is_good(asked.loss), Do.DISCARD, Do.SAVE, Do.RECORD_CONSENT),
    _rule("save-before-discard", lambda asked: losses.saved_first(asked.loss), Do.DISCARD),
    _rule("fence-the-hung-victim-only", lambda asked: losses.hangs_for_good(asked.loss), Do.POWER_CYCLE),
    _rule("verify-at-rest", lambda asked: not_comparable(asked.pair), Do.VERIFY),
    _rule("discards-the-victim-only", lambda asked: losses.victim_alone_loses(asked.loss), Do.DISCARD),
))


def standing(facts: ClusterFacts, wanted: Wanted, goal: Goal) -> Violation | None:
    """What runs, though nothing has to be done: settings that differ, or discard by themselves, and a disk that was in use
    behind DRBD's back, are not "already there"."""
    for name in ("no-auto-discard", "same-settings", "backing-touched"):
        for node in wanted.nodes:
            found = RULES[name].check(Asked(facts, Step(Do.PROMOTE, node, wanted.name), wanted, goal))
            if found is not None:
                return Violation(name, *found)
    return None


def judge(
    facts: ClusterFacts, step: Step, wanted: Wanted, goal: Goal, named: tuple[str, ...] = (), ledger: Ledger | None = None
) -> Violation | None:
    """The first rule this step would break. `named`: rules its table row adds to those that judge every such step."""
    asked = Asked(facts, step, wanted, goal.at(step), ledger or Ledger())
    second = step.do is Do.PROMOTE and asked.peer.role is not Role.SECONDARY
    for rule in RULES.values():
        if step.do in rule.judges or rule.name in named or (second and rule.name == "dual-primary-gate"):
            found = rule.check(asked)
            if found is not None:
                return Violation(rule.name, *found)
    return None
