"""What a recovery from split brain does next: the rows of its table, turned into steps and judged. None: the resource's own
machine goes on from here."""

from __future__ import annotations

from attrs import evolve

from states import recovery
from states.consent import Record
from states.facts import ClusterFacts
from states.goal import Decision, Do, Goal, Kind, Ledger, Look, Refused, Step, Steps, Waiting, Wanted
from states.invariants import judge
from states.recovery import Case, case_of, stage
from states.table import On, Row, towards
from states.vocabulary import By, Recovery

R = Recovery
REMEDY: dict[Recovery, tuple[str, str]] = {
    # stage       rule                            what to type next
    R.CONFIRMED: ("no-discard-without-consent", "orchestrate recover-splitbrain {} --plan, then name a --victim"),
    R.REFUSED:   ("look-before-connect",        "it is not split brain: `orchestrate status` says what it is and what to type"),
    R.SUSPECTED: ("fresh-facts",                "look at the node that could not be read: orchestrate status"),
}


def decide_recovery(goal: Goal, facts: ClusterFacts, ledger: Ledger, wanted: Wanted, moves: tuple[Step, ...]) -> Decision | None:
    """The next step of this resource's recovery, after its layers' `moves`; None where there is none, or where the rest is the
    ordinary way up."""
    case = case_of(goal, facts, wanted, ledger)
    if case is None:
        return None
    now = stage(case)
    parted_again = now is R.REFUSED and any(case.records)  # the two had met: the ordinary way up looks before it connects
    if now in (R.RESYNCING, R.RESTORED, R.VICTIM_FENCED) or (now is R.REFUSED and case.pair.unseen) or parted_again:
        return None
    if any(side.suspended for side in case.pair.sides):
        return None  # said, and refused, in the resource's own words
    if ledger.in_flight and any(f":{wanted.name}:" in key for key in ledger.in_flight):
        return Waiting("answers", "steps are being carried out", None, wanted.name)
    stale = tuple(side.node for side in case.pair.sides if side.identifiers is None and not facts.node(side.node).fresh)
    if stale:
        return Look(stale, "the generation identifiers have to be read")
    row = towards(recovery.TABLE, now, R.RESTORED, goal.direction, case)
    if row is None:
        return _refused(case, now)
    if moves:  # a node that was switched off has not even its module
        return Steps(moves)
    if row.by is By.AWAITED:
        return _wait(case, row)
    return _send(case, row, ledger)


def _refused(case: Case, now: Recovery) -> Decision:
    rule, remedy = REMEDY[now]
    name = case.pair.wanted.name
    words = (f"{side.node} {side.role.value}/{side.disk.value} identifiers {side.identifiers or 'unread'}" for side in case.pair.sides)
    sides = "; ".join(words)
    if now is R.CONFIRMED:
        shown = "; ".join(f"{node} {ids}" for node, ids in case.consent.shown)
        seen = f"the consent was given on seeing {shown}; now it is {sides}: it is void"
    elif now is R.REFUSED:
        seen = f"{sides}; if they met: {case.pair.prediction.verdict.value}, {case.pair.prediction.why}"
    else:
        seen = sides
    return Refused(rule, f"recover {name}", seen, remedy.format(name))


def _wait(case: Case, row: Row) -> Decision:
    wanted = case.pair.wanted
    if row.event == "evacuated":
        return Waiting("stack_stops", case.standing, None, wanted.name, (case.consent.victim,))
    return Waiting(row.event, row.because, wanted.connect_deadline, wanted.name, wanted.nodes)


def _send(case: Case, row: Row, ledger: Ledger) -> Decision:
    """Judge the row's steps and hand them out."""
    steps = []
    for step in _steps(case, row):
        failed = dict(ledger.failed).get(step.key)
        what = f"{step.do.value} {step.resource} on {step.node}"
        if failed is not None:
            return Refused("step-failed", what, failed, "mend what it says, then run again", Kind.FAILED)
        violation = judge(case.facts, step, case.pair.wanted, case.goal, row.rules, ledger)
        if violation is not None:
            return Refused(violation.rule, what, violation.evidence, violation.remedy)
        steps.append(step)
    return Steps(tuple(steps))


def _steps(case: Case, row: Row) -> list[Step]:
    if row.step is None:
        raise ValueError(f"{row.event}: a row of ours without a step")
    nodes = {On.VICTIM: (case.victim,), On.SURVIVOR: (case.survivor,)}.get(row.on, case.pair.sides)
    return [
        Step(row.step, side.node, case.pair.wanted.name, because=row.because, event=row.event,
             expect=str(side.identifiers) if side.identifiers else "", replaces=side.configured is True, says=_says(case, row.step))
        for side in nodes if _lacks(case, row.step, side.node)
    ]


def _lacks(case: Case, do: Do, node: str) -> bool:
    """The node has not written down yet what it is to write down."""
    record = case.facts.node(node).record(case.pair.wanted.name)
    if do is Do.RECORD_CONSENT:
        return record is None or not record.consent.agrees(case.consent) or record.consent.by != case.consent.by
    if do is Do.RECORD_ARCHIVE:
        return record is None or record.saved != case.archive
    return do is not Do.FORGET or record is not None


def _says(case: Case, do: Do) -> str:
    """What is written down, or the name of the consent."""
    record = Record(case.consent)
    if do is Do.RECORD_CONSENT:
        known = next((one for one in case.records if one is not None and one.consent.agrees(case.consent)), record)
        return evolve(known, consent=case.consent).text()
    return record.filed(case.archive).text() if do is Do.RECORD_ARCHIVE else case.consent.token
