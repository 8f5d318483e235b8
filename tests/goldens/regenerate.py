"""`python -m tests.goldens.regenerate`: write every situation's plan, the facts after it, and its diagnosis.

Read the diff before you commit.
"""

from __future__ import annotations

from fixtures.situations import HERE, situations
from fixtures.situations.write import diagnoses_text, facts_text, plan_text
from states.plan import plan


def main() -> None:
    """Write plan.txt and after.toml of every case."""
    (HERE / "diagnoses.txt").write_text(diagnoses_text(situations()))
    for situation in situations():
        planned = plan(situation.goal, situation.facts, situation.ledger)
        (HERE / situation.name / "plan.txt").write_text(plan_text(situation, planned))
        (HERE / situation.name / "after.toml").write_text(facts_text(planned.after, situation.goal.stack))


if __name__ == "__main__":
    main()
