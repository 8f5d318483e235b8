"""Names published by a program of yours: it gets the records as JSON on stdin, and exit 0 says that they are there.

    {"name": "nas.example.org", "ttl": 10,
     "records": [{"type": "A", "address": "192.0.2.11"}], "remove": [{"type": "A", "address": "192.0.2.12"}]}
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from subprocess import DEVNULL, PIPE

import anyio
from attrs import frozen

from orchestrator.names import Address, NotPublishedError, Records, in_order, kind
from orchestrator.supervise_config import NamesSection

SAID = 300
"""Characters of a failed program's words that are passed on."""


@frozen
class ExecBackEnd:
    """Runs `command` in the folder of cluster.toml. It has `timeout` seconds, then it is killed."""

    names: NamesSection
    folder: Path

    async def read(self) -> frozenset[Address] | None:
        """See BackEnd: a program is told, never asked."""
        return None

    async def write(self, records: Records) -> None:
        """See BackEnd."""
        program = self.names.command[0]
        try:
            with anyio.fail_after(self.names.timeout), tempfile.TemporaryFile() as told:  # no pipe: it need not read it
                told.write(as_json(records).encode())
                told.seek(0)
                done = await anyio.run_process(self.names.command, stdin=told, stdout=DEVNULL, stderr=PIPE, check=False, cwd=self.folder)
        except TimeoutError as error:
            raise NotPublishedError(f"{program} did not end within {self.names.timeout:g} s") from error
        except OSError as error:
            raise NotPublishedError(f"{program} cannot be run: {error}") from error
        if done.returncode != 0:
            said = " ".join(done.stderr.decode(errors="replace").split())[-SAID:]
            raise NotPublishedError(f"{program} ended with exit {done.returncode}{': ' + said if said else ''}")


def as_json(records: Records) -> str:
    """What the program reads."""
    return json.dumps({
        "name": records.name, "ttl": records.ttl,
        "records": [{"type": kind(one), "address": str(one)} for one in in_order(records.wanted)],
        "remove": [{"type": kind(one), "address": str(one)} for one in in_order(records.unwanted)],
    })
