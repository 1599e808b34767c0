"""Certificates for a server on this machine: one that is right, and each way in which one can be wrong."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["Certificates"]

_NEW_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Files made by the ``openssl`` command, which is no dependency: without it, tests that need them are skipped."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        if shutil.which("openssl") is None:
            pytest.skip("no openssl command on this machine: certificates cannot be made")
        made = cls(folder=folder)
        for authority in ("authority", "stranger"):
            made._openssl(f"req -x509 {_NEW_KEY} -keyout {authority}.key -out {authority}.pem -subj /CN={authority}")
        made._issue("good", names="IP:127.0.0.1,DNS:localhost")
        made._issue("expired", names="IP:127.0.0.1,DNS:localhost", days=-1)
        made._issue("wrong_host", names="DNS:elsewhere.example")
        made._issue("unknown_authority", names="IP:127.0.0.1,DNS:localhost", authority="stranger")
        return made

    @property
    def authority(self) -> Path:
        """The authority that a client is told to trust."""
        return self.folder / "authority.pem"

    def server(self, name: str) -> ssl.SSLContext:
        """A server's side of TLS with one of the certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def _issue(self, name: str, *, names: str, days: int = 2, authority: str = "authority") -> None:
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        signed_by = f"-CA {authority}.pem -CAkey {authority}.key -CAcreateserial"
        self._openssl(f"req {_NEW_KEY} -keyout {name}.key -out {name}.csr -subj /CN={name}")
        self._openssl(f"x509 -req -in {name}.csr {signed_by} -days {days} -extfile {name}.ext -out {name}.pem")

    def _openssl(self, arguments: str) -> None:
        subprocess.run(["openssl", *arguments.split()], cwd=self.folder, check=True, capture_output=True)
