"""asyncssh, imported without what we never use.

Measured on this project's two-core machine, Python 3.11, asyncssh 2.24.1 (`python -X importtime`): of the 0.25 s that
asyncssh adds to asyncio, 0.05 s go into looking for liboqs and libnettle, for which ctypes runs `ldconfig` and, where
it finds one, a C compiler; 0.04 s into X.509 certificates, which need pyOpenSSL and which we do not offer. Smart cards
(fido2, pkcs11) and Kerberos (gssapi) are loaded where they happen to be installed. All of these are optional to
asyncssh by its own code (`except ImportError`); here they are absent while it is being imported.
"""

from __future__ import annotations

import ctypes.util
import gc
import importlib
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NEVER_USED = ("asyncssh.crypto.x509", "asyncssh.crypto.umac", "fido2", "pkcs11", "gssapi", "OpenSSL")


def _nothing_found(name: str) -> str | None:  # stands in for ctypes.util.find_library
    return None


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    """While inside, `import` of a name fails with ImportError (that is what None in sys.modules means)."""
    absent = [name for name in names if name not in sys.modules]
    find_library, collecting = ctypes.util.find_library, gc.isenabled()
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is Python's own marker for "blocked"
    ctypes.util.find_library = _nothing_found
    gc.disable()
    try:
        yield
    finally:
        ctypes.util.find_library = find_library
        for name in absent:
            sys.modules.pop(name, None)
        if collecting:
            gc.enable()


def load() -> Any:  # a module that is imported late; its users name the type they take from it
    """`orchestrator.ssh.connect`, with asyncssh under it. The first call blocks for asyncssh's import."""
    if "asyncssh" not in sys.modules:
        with _without(NEVER_USED):
            asyncssh = importlib.import_module("asyncssh")
        # cryptography 45 and later say so at every such key exchange; sshd 5.3 (RHEL 6) knows no other
        warnings.filterwarnings("ignore", message="Diffie-Hellman over finite fields")
        asyncssh.set_log_level("WARNING")  # it tells of every channel at INFO
    return importlib.import_module("orchestrator.ssh.connect")
