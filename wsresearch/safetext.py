"""Foreign text made safe to keep and to show; escaping for a particular display (HTML, a plot) is not here.

Everything a peer can put into a message of ours (close reasons, HTTP bodies, headers, symbols, exception texts
that quote them) passes through :func:`safe` once, before it is logged, recorded or raised.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

__all__ = ["MAX_CHARACTERS", "MAX_MESSAGE", "redact", "safe"]

MAX_CHARACTERS: Final = 200
"""Longest ``detail`` of an event row."""

MAX_MESSAGE: Final = 1_000
"""Longest message of ours that is shown: it may quote a path and several symbols, and what to do stands at its end."""

# A scheme, then anything up to white space, a quote or an angle bracket.
_URL: Final = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s'\"<>]+)", re.IGNORECASE)

# Whoever is named before the host. The whole of a URL is looked at above; this finds one inside another, as in a list.
_USER: Final = re.compile(r"://[^\s/'\"<>]*@")

# ANSI control sequences go as a whole: with only the ESC removed, "[31m" would remain as noise.
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)

# As in a query, a header or JSON; whatever stands before the word belongs to the name (access_token, X-MBX-APIKEY).
_SECRET: Final = re.compile(
    r"(?<![\w-])([\w-]{0,40}(?:api[-_]?key|secret|token|signature|listen[-_]?key|passw(?:or)?d|authorization|cookie)[\"']?)"
    r"(\s*[=:]\s*[\"']?)(?:(?:bearer|basic|token)\s+)?[^\s&,;\"']+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Remove user names, passwords, query strings and named secrets from every URL and header in a text."""

    def shortened(match: re.Match[str]) -> str:
        scheme, rest = match.groups()
        rest, query, _ = rest.partition("?")
        authority, slash, path = rest.partition("/")
        host = authority.rpartition("@")[2]
        return f"{scheme}{host}{slash}{path}{'?…' if query else ''}"

    return _SECRET.sub(r"\1\2…", _USER.sub("://", _URL.sub(shortened, text)))


def safe(text: str, *, limit: int = MAX_CHARACTERS) -> str:
    """Return foreign text as one line without control, bidi or escape characters, secrets or query strings.

    Parameters
    ----------
    text
        Anything; undecodable bytes should have been decoded with ``errors="replace"``.
    limit
        Longest result in characters; what is cut ends with an ellipsis.
    """
    # Twenty times the limit is enough to look at: a megabyte of HTTP body must not cost a megabyte of work.
    text = _ANSI.sub("", text[: 20 * limit])
    # Categories Cc, Cf (bidi marks and overrides, zero widths), Cs (surrogates), Co, Cn, Zl, Zp.
    shown = (" " if unicodedata.category(c)[0] == "C" or unicodedata.category(c) in {"Zl", "Zp"} else c for c in text)
    line = redact(" ".join("".join(shown).split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
