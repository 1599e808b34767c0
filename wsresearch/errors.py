"""Every exception this package raises on purpose; what went wrong on the *connection* is data, not an exception.

::

    WsresearchError
    ├── UsageError (also ValueError)      a value the caller gave is wrong; exit code 2
    │   ├── TapeError                     a recording that is cut, not gzip, or not a recording
    │   └── FaultPlanError                a fault plan that cannot be played
    ├── CaptureError                      the capture directory cannot be used; exit code 2
    │   ├── NotACapture                   the directory holds no capture
    │   ├── CaptureBusy                   another collector holds the lock
    │   ├── CaptureTooNew                 written by a later format version; untouched
    │   └── CaptureDamaged                a file contradicts its own checks
    └── CollectorError                    the collector process could not be started, reached or stopped

A message says what is wrong, with which value, and what to do about it, in one line.
"""

from __future__ import annotations

__all__ = [
    "CaptureBusy",
    "CaptureDamaged",
    "CaptureError",
    "CaptureTooNew",
    "CollectorError",
    "FaultPlanError",
    "NotACapture",
    "TapeError",
    "UsageError",
    "WsresearchError",
]


class WsresearchError(Exception):
    """Base of everything raised on purpose by this package."""


class UsageError(WsresearchError, ValueError):
    """A value the caller gave is wrong; nothing on disk has changed."""


class TapeError(UsageError):
    """A recording that is cut, not gzip although named so, or not a recording at all."""


class FaultPlanError(UsageError):
    """A fault plan that cannot be played: unknown fault, missing or impossible value."""


class CaptureError(WsresearchError):
    """The capture directory cannot be used."""


class NotACapture(CaptureError):  # noqa: N818 - reads as what it says: "raise NotACapture"
    """The directory holds no capture."""


class CaptureBusy(CaptureError):  # noqa: N818
    """Another collector holds the lock of this capture."""


class CaptureTooNew(CaptureError):  # noqa: N818
    """The capture was written by a later format version; it has not been touched."""


class CaptureDamaged(CaptureError):  # noqa: N818
    """A file contradicts its own checks."""


class CollectorError(WsresearchError):
    """The collector process could not be started, reached or stopped."""
