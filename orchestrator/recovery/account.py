"""What a finished recovery leaves for people: who decided what, when and why, on what evidence, what was done, and how it is now.

Two files beside the archive, whether there is one or not: `NAME.report.json` and `NAME.report.txt`. Everything in them comes from
the journal of this machine, the archive, and the looks before and after; what another machine did is in that one's journal.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen

from orchestrator.errors import StepFailedError
from orchestrator.journal import Record
from orchestrator.recovery.archive import Archive, write_whole
from orchestrator.recovery.assessed import as_document
from orchestrator.recovery.saved_files import LIST
from states.assessment import Assessment
from states.consent import NOT_SAVED, NOTHING_CHANGED, Consent

NOBODY_ASKED = "it had changed nothing since the two parted"
NAMED = "a human named the victim for what was shown"


@frozen
class Ended:
    """A recovery that has come to its end. `before`: as this run found it; `after`: as it is now. `records`: the journal, all of it.
    `place`: of the archive, as the nodes had it on record before this run, "" if they had none."""

    consent: Consent
    before: Assessment
    after: Assessment
    records: tuple[Record, ...]
    place: str = ""


def name_of(consent: Consent) -> str:
    """Of the archive and of the report: the same for every run of one recovery."""
    return f"{consent.resource}-{consent.victim}-{consent.token}"


def account(ended: Ended, folder: Path) -> dict[str, Any]:
    """The report as a document. Times: seconds since the epoch; sizes: KiB or bytes, as their names say."""
    consent = ended.consent
    mine = tuple(_since_agreed(ended.records, consent))
    agreed = next((one for one in mine if one["kind"] == "consent"), None)
    survivor = next(node for node, _ in consent.shown if node != consent.victim)
    return {
        "resource": consent.resource, "victim": consent.victim, "survivor": survivor,
        "token": consent.token, "agreed_by": consent.by, "agreed_at": agreed["at"] if agreed else None,
        "why": NOBODY_ASKED if consent.by == NOTHING_CHANGED else NAMED,
        "identifiers_shown": {node: str(ids) for node, ids in consent.shown},
        "before": agreed["seen"] if agreed else as_document(ended.before),
        "steps": list(_steps(mine)),
        "archive": _archive(_place(mine, consent) or ended.place, folder / name_of(consent)),
        "after": {"state": ended.after.why, "sides": as_document(ended.after)["sides"]},
        "finished_at": mine[-1]["at"] if mine else None,
    }


def _since_agreed(records: Iterable[Record], consent: Consent) -> Iterator[Record]:
    """From the first time this machine wrote this consent down."""
    began = False
    for record in records:
        began = began or (record["kind"] == "consent" and record["resource"] == consent.resource and record["token"] == consent.token)
        if began:
            yield record


def _steps(records: tuple[Record, ...]) -> Iterator[dict[str, Any]]:
    """Each step, with what came of it: all of them, for the victim's stack is part of it."""
    outcomes = {record["op"]: record for record in records if record["kind"] == "outcome"}
    for record in records:
        if record["kind"] == "intent":
            came = outcomes.get(record["op"], {})
            yield {"at": record["at"], "key": record["key"], "node": record["node"], "because": record["because"],
                   "said": came.get("said", "unknown"), "code": came.get("code")}


def _place(records: tuple[Record, ...], consent: Consent) -> str:
    key = f"save-changes:{consent.resource}:{consent.victim}"
    saved = [record["text"] for record in records if record["kind"] == "outcome" and record["key"] == key and record["said"] == "saved"]
    return saved[-1] if saved else ""


def _archive(place: str, folder: Path) -> dict[str, Any]:
    """Where the victim's changes are, and how it was seen that they are all there."""
    if place.startswith(NOT_SAVED):
        return {"place": None, "not_saved_because": place.removeprefix(NOT_SAVED)}
    if not place:
        return {"place": None, "not_saved_because": "there was nothing to save"}
    found: dict[str, Any] = {"place": place}
    if (folder / "manifest.json").exists():  # else it is on another machine
        manifest = Archive.open(folder).manifest
        found |= {"blocks": manifest.saved.blocks, "bytes": manifest.length, "verified_at": manifest.verified,
                  "data_sha256": manifest.data_sha256, "image_sha256": manifest.image_sha256,
                  "victim_changed_kib": manifest.victim.extents.kib, "survivor_changed_kib": manifest.survivor.extents.kib,
                  "files": manifest.files["count"] if manifest.files else 0, "file_list": str(folder / LIST) if manifest.files else None}
    return found


def in_words(document: dict[str, Any]) -> str:
    """The same for people."""
    archive = document["archive"]
    lines = [f"Recovery of {document['resource']} from split brain", "",
             f"victim      {document['victim']}: its changes were discarded",
             f"survivor    {document['survivor']}",
             f"agreed      {document['agreed_by']}, {_when(document['agreed_at'])}: {document['why']}",
             f"shown       token {document['token']}"]
    lines += [f"            {node} {ids}" for node, ids in document["identifiers_shown"].items()]
    lines += ["", "before"]
    lines += [_side(side) for side in document["before"]["sides"]]
    lines += [f"  left alone, DRBD would have ended in: {document['before']['left_alone']}", "", "saved"]
    if archive["place"] is None:
        lines.append(f"  nothing: {archive['not_saved_because']}")
    else:
        lines.append(f"  {archive['place']}")
    if "blocks" in archive:
        by_name = f"  {archive['files']} files by name" + (": orchestrate splitbrain extract" if archive["files"] else "")
        lines += [f"  {archive['blocks']} blocks ({archive['bytes']} bytes), read twice and compared, {_when(archive['verified_at'])}",
                  f"  sha256 of the blocks         {archive['data_sha256']}",
                  f"  sha256 of the victim's disk  {archive['image_sha256']}",
                  by_name]
    lines += ["", "done"]
    lines += [f"  {_when(step['at'])}  {step['key']}: {step['said']}{'' if step['code'] is None else ' ' + str(step['code'])}"
              for step in document["steps"]]
    lines += ["", f"after, {_when(document['finished_at'])}"]
    lines += [_side(side) for side in document["after"]["sides"]]
    return "\n".join(lines) + "\n"


def _side(side: dict[str, Any]) -> str:
    changed = "?" if side["changed_kib"] is None else side["changed_kib"]
    state = f"{side['role']}/{side['disk']}, {side['connection']}"
    return f"  {side['node']} {state}, {changed} KiB out of sync, identifiers {side['identifiers']}"


def _when(at: float | None) -> str:
    if at is None:
        return "at a time that another machine's journal has"
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def write_account(ended: Ended, folder: Path) -> Path:
    """Write both files; back comes the one for people. Raises StepFailedError where they cannot be written."""
    document = account(ended, folder)
    there = folder / f"{name_of(ended.consent)}.report.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(there.with_suffix(".json"), (json.dumps(document, indent=1) + "\n").encode())
        write_whole(there, in_words(document).encode())
    except OSError as error:
        raise StepFailedError(f"{ended.consent.resource} is recovered, but its report could not be written: {error}") from error
    return there
