"""An assessment for people and for scripts."""

from __future__ import annotations

from typing import Any, TextIO

from rich.table import Table

from orchestrator.render import console, draw_plan, size_words
from states.assessment import Assessment, Choice


def draw_assessment(found: Assessment, stream: TextIO) -> None:
    """A page to decide from: the evidence, each choice with what it would lose, and what to type."""
    out = console(stream)
    if not found.known:
        out.print(f"{found.resource}: whether it is split brain cannot be told: {found.why}", style="yellow")
        return
    if not found.split:
        out.print(f"{found.resource}: no split brain: {found.why}")
        return
    out.print(f"{found.resource} is SPLIT BRAIN: {found.why}", style="bold red")
    out.print("both count their changes from the same point" if found.ancestor
              else "they parted long ago: the counts below may miss changes", style="" if found.ancestor else "yellow")
    table = Table("node", "role", "disk", "connection", "changed since", "serves", "identifiers")
    for side in found.sides:
        changed = "not known while it is down" if side.changed is None else size_words(side.changed)
        table.add_row(side.node, side.role, side.disk, side.connection,
                      changed + (" (a crash made this more than it is)" if side.inflated else ""), side.serves or "-", side.identifiers)
    out.print(table)
    out.print(f"left alone, DRBD would end in: {found.alone}")
    if found.agreed is not None:
        out.print(f"a recovery is on its way: {found.agreed.consent.victim} is the victim, archive: {found.agreed.saved or 'not yet'}; "
                  f"go on with: orchestrate recover-splitbrain {found.resource}", style="bold")
    for choice in found.choices:
        _draw_choice(found, choice, stream)
    if found.harmless is not None:
        words = f"nobody has to choose: {found.harmless} has changed nothing. Type: orchestrate recover-splitbrain {found.resource}"
        out.print(words, style="bold green")


def _draw_choice(found: Assessment, choice: Choice, stream: TextIO) -> None:
    out = console(stream)
    lost = "what it changed (how much is known once its disk is up)" if choice.loses is None else f"at most {size_words(choice.loses)}"
    out.print(f"\n{choice.victim} as the victim: loses {lost}; saved first", style="bold")
    line = f"type: orchestrate recover-splitbrain {found.resource} --victim {choice.victim} --shown {found.token}"
    if choice.refused is not None and not choice.by_hand_first:
        out.print(f"not possible: {choice.refused}", style="yellow")
        return
    if choice.hangs:
        out.print(_power(choice), style="yellow")
    if choice.refused is None:
        draw_plan(choice.plan, stream)
    out.print(line)


def _power(choice: Choice) -> str:
    """A victim that hangs: how that ends."""
    hung = f"{choice.victim} hangs ({', '.join(choice.hangs)}): "
    if choice.refused is None:
        return (f"{hung}it is switched off and on first, by its fence agent, asked by its peer, and only if it still hangs half a minute "
                "later. What is on its disk stays; what it never wrote is gone already")
    return f"{hung}only its power ends that: {choice.refused.remedy}"


def _who(choice: Choice) -> str | None:
    """Who switches a hung victim off and on first; None where nobody has to, or may."""
    if choice.by_hand_first:
        return "by hand"
    return "fence agent" if choice.hangs and choice.refused is None else None


def as_document(found: Assessment) -> dict[str, Any]:
    """The same for scripts. KiB. None: not known."""
    return {
        "resource": found.resource, "split_brain": found.split if found.known else None, "why": found.why, "token": found.token,
        "common_ancestor": found.ancestor, "left_alone": found.alone, "harmless_victim": found.harmless,
        "under_way": {"victim": found.agreed.consent.victim, "archive": found.agreed.saved or None} if found.agreed is not None else None,
        "sides": [
            {"node": side.node, "role": side.role, "disk": side.disk, "connection": side.connection, "changed_kib": side.changed,
             "inflated_by_crash": side.inflated, "serves": side.serves or None, "identifiers": side.identifiers}
            for side in found.sides
        ],
        "choices": [
            {"victim": choice.victim, "loses_kib": choice.loses, "refused": str(choice.refused) if choice.refused else None,
             "hangs": list(choice.hangs), "power_cycle": _who(choice),
             "steps": [{"key": item.key, "what": item.what, "node": item.node or None, "needs": list(item.needs)}
                       for item in choice.plan.items]}
            for choice in found.choices
        ],
    }
