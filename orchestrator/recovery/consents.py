"""Who agrees to lose what: whether a consent on record goes on, what a human has seen, and whether that is still so. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, field, frozen

from orchestrator.errors import RefusedError
from states.assessment import Assessment, consent_for
from states.consent import NOTHING_CHANGED, Consent
from states.facts import ClusterFacts
from states.goal import Goal, Refused
from states.reach import unseen


@frozen
class Said:
    """What the operator has said and seen. `victim`: None, nobody was named. `shown`: the token they hold. `told`: for each resource,
    the token that `--plan` showed last on this machine."""

    by: str
    victim: str | None = None
    shown: str | None = None
    told: Mapping[str, str] = field(factory=dict)


def consents_for(
    goal: Goal, facts: ClusterFacts, found: tuple[Assessment, ...], said: Said, *, one: bool
) -> tuple[Consent, ...]:
    """What was agreed about each resource that is split, or is on the way back. Raises RefusedError where a human has to decide."""
    consents = []
    for each in found:
        if each.agreed is not None and _goes_on(each.agreed.consent, said.victim):
            consents.append(each.agreed.consent)  # an earlier run's
        elif each.split:
            consents.append(_agree(goal, facts, each, said))
        else:
            ascertain(goal, facts, each)
            if one:
                raise RefusedError(_not_split(each))
    return tuple(consents)


def _goes_on(consent: Consent, victim: str | None) -> bool:
    """What is on record is what is wanted now. Nobody gave a zero-change consent: an operator's own takes its place."""
    return victim is None or (victim == consent.victim and consent.by != NOTHING_CHANGED)


def ascertain(goal: Goal, facts: ClusterFacts, each: Assessment) -> None:
    """Raises RefusedError where a node that cannot be seen leaves open whether it is split brain: unknown is not "no"."""
    missing = next((unseen(goal, facts, one) for one in goal.resources if one.name == each.resource), None)
    if missing is not None and not each.known:
        raise RefusedError(evolve(missing, what=f"recover {each.resource}"))


def _not_split(each: Assessment) -> Refused:
    found = "it is not split brain" if each.known else "whether it is split brain cannot be told"
    sides = "; ".join(f"{side.node} {side.role}/{side.disk}, {side.connection}, identifiers {side.identifiers}" for side in each.sides)
    return Refused("no-discard-without-consent", f"recover {each.resource}", f"{found}: {each.why}; {sides}",
                   "orchestrate status says what it is and what to type")


def _agree(goal: Goal, facts: ClusterFacts, each: Assessment, said: Said) -> Consent:
    """The zero-change rule, or an operator who has seen this very state."""
    what = f"recover {each.resource}"
    by = NOTHING_CHANGED if said.victim is None and each.harmless is not None else said.by
    chosen = said.victim or each.harmless
    if chosen is None:
        sides = "; ".join(f"{side.node} changed {'?' if side.changed is None else side.changed} KiB" for side in each.sides)
        raise RefusedError(Refused("no-discard-without-consent", what, f"both sides may have changes: {sides}",
                                   f"see `orchestrate recover-splitbrain {each.resource} --plan`, then name a --victim"))
    if said.victim is not None:
        _has_seen(each, said)
    choice = next(one for one in each.choices if one.victim == chosen)
    if choice.refused is not None:
        raise RefusedError(choice.refused)
    consent = consent_for(goal, facts, each.resource, chosen, by)
    if consent is None:
        raise RefusedError(Refused("fresh-facts", what, "a side's identifiers could not be read", "look again: orchestrate status"))
    return consent


def _has_seen(each: Assessment, said: Said) -> None:
    """The operator names a victim for what --plan showed, here or on another machine. Raises RefusedError if it is another now."""
    last = said.shown or said.told.get(each.resource)
    again = f"orchestrate recover-splitbrain {each.resource} --plan"
    if last is None:
        raise RefusedError(Refused("no-discard-without-consent", f"recover {each.resource}", "nobody has seen yet what would be lost",
                                   f"{again}; then the same command again"))
    if last != each.token:
        now = "; ".join(f"{side.node} {side.identifiers}" for side in each.sides)
        raise RefusedError(Refused("no-discard-without-consent", f"recover {each.resource}",
                                   f"what was shown ({last}) is not what is there now ({each.token}: {now}): the consent is void", again))
