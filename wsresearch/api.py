"""What users hold: :func:`collect`, :func:`open_capture` and :class:`Capture`; here the rooms meet, nothing is decided.

Each method says in one line which room does the work.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa

from wsresearch.capture.identity import read_identity
from wsresearch.capture.layout import Layout
from wsresearch.capture.reader import Reader
from wsresearch.collect import process
from wsresearch.collect.config import Config
from wsresearch.collect.status import Status, read_status
from wsresearch.errors import CaptureBusy, UsageError, WsresearchError
from wsresearch.reconnect.backoff import Policy
from wsresearch.reconnect.budget import Budget
from wsresearch.reconnect.presets import PRESETS, Preset, parse_policy
from wsresearch.reconnect.reset import Reset
from wsresearch.venues import parse_stream, venue_named

if TYPE_CHECKING:
    import pandas as pd

    from wsresearch.lab import ExchangeProcess
    from wsresearch.notebook.desk import Panel
    from wsresearch.notebook.lab_panel import LabPanel

__all__ = ["Capture", "collect", "lab_panel", "make_config", "open_capture", "panel", "to_pandas"]

AS_RECORDED: Final = "as recorded"
"""What the policy of a capture is called among others."""

COMPARED: Final = ("full-jitter", "equal-jitter", "exponential", "constant", "seed-okhttp", "seed-java-websocket")
"""What a capture's policy is compared with if nobody says."""


def make_config(
    stream: str,
    out: str | os.PathLike[str],
    *,
    policy: Policy | str | None = None,
    policy_args: Mapping[str, str] | None = None,
    reset: Reset | str | None = None,
    budget: Budget | str | None = None,
    **others: Any,
) -> Config:
    """Turn what people write into a checked configuration.

    Parameters
    ----------
    stream
        ``venue:symbol[,symbol…]``.
    out
        The capture directory.
    policy
        A policy, the name of one or of a preset, or a full text such as ``"full-jitter(base=1, cap=30)"``.
    policy_args
        Parameters for a policy given by name, or for the default one.
    reset, budget
        As values or as text (``stable:60``, ``60/300``). A preset brings the reset rule of its original.
    **others
        The other fields of :class:`wsresearch.collect.config.Config`.

    Raises
    ------
    UsageError
        Naming the value that is wrong.
    """
    if reset is None and isinstance(policy, str) and policy in PRESETS:
        reset = PRESETS[policy].reset
    if policy is None or isinstance(policy, str):
        policy = parse_policy(policy or "full-jitter", policy_args)
    elif policy_args:
        raise UsageError(f"policy-args {dict(policy_args)} are for a policy given by name, not for {policy}")
    try:
        return Config(
            stream=parse_stream(stream),
            out=Path(out),
            policy=policy,
            reset=Reset.parse(reset) if isinstance(reset, str) else reset or Reset(),
            budget=Budget.parse(budget) if isinstance(budget, str) else budget or Budget(),
            **others,
        )
    except TypeError as exc:
        raise UsageError(f"{exc}; see help(wsresearch.collect) for what can be given") from exc


def collect(stream: str, out: str | os.PathLike[str], **options: Any) -> Capture:
    """Collect in the background, or attach to the collector that already does.

    Parameters
    ----------
    stream
        What to collect, such as ``"binance:btcusdt,ethusdt"``.
    out
        The capture directory; made if it is not there.
    **options
        ``url, policy, reset, budget, max_attempts, idle_timeout, duration, …`` as in :func:`make_config`.

    Returns
    -------
    Capture
        Of a collector that runs.

    Raises
    ------
    UsageError
        If a value is wrong, or a collector runs on this directory with other arguments; the text names them.
    CaptureError
        If the directory cannot be used.
    CollectorError
        If the background process did not start.
    """
    config = make_config(stream, out, **options)
    if process.settled(config.out) is None:
        try:
            process.start(config)
        except CaptureBusy:  # somebody was quicker, in another notebook or thread: compare with theirs
            if process.settled(config.out) is None:
                raise
        else:
            return Capture(config.out)
    capture = Capture(config.out)
    if differences := config.differences(capture.identity.config):
        raise UsageError(
            f"a collector already runs on {str(config.out)!r} with other arguments: {'; '.join(differences)}; "
            "stop it first (capture.stop()), or choose another directory"
        )
    return capture


def open_capture(directory: str | os.PathLike[str]) -> Capture:
    """Open a capture for reading and steering; no collector is needed.

    Raises
    ------
    NotACapture, CaptureTooNew
        If the directory is none, or one of a later format version.
    """
    return Capture(directory)


def panel(*, stretch: str = "1 h", palette: str = "light", **filled_in: Any) -> Panel:
    """Return a panel that starts empty: pick what to collect, press Start, watch and steer it.

    Parameters
    ----------
    stretch
        How far back the pictures look at first: ``5 min``, ``1 h``, ``24 h`` or ``all``.
    palette
        ``light`` or ``dark``.
    **filled_in
        What stands in the form at first, as text: ``venue, symbols, directory, url, policy, parameters, reset,
        idle_timeout`` (see :class:`wsresearch.notebook.form.Form`; ``parameters`` is a dict of texts).

    Raises
    ------
    UsageError
        If there is no such stretch, palette or field, or a venue or policy is unknown.
    """
    from wsresearch.notebook.desk import Panel
    from wsresearch.notebook.form import Form
    from wsresearch.notebook.panel import PanelFace

    return Panel(PanelFace(Form.filled(**filled_in), stretch=stretch, palette=palette), collect=collect)


def lab_panel(exchange: ExchangeProcess) -> LabPanel:
    """Return buttons that disturb a local exchange, one for each single fault; see :mod:`wsresearch.lab`."""
    from wsresearch.notebook.lab_panel import FAULT_BUTTONS, LabPanel
    from wsresearch.notebook.panel import ButtonsFace

    return LabPanel(ButtonsFace({name: tip for name, (_, tip) in FAULT_BUTTONS.items()}), exchange)


class Capture(Reader):
    """One capture: its tables, what they mean, and the collector that writes it.

    Every table is a :class:`pyarrow.Table` and therefore speaks the Arrow C stream interface that DuckDB,
    Polars and pandas read. Reading needs no collector and changes nothing.
    """

    def __repr__(self) -> str:
        try:
            told = str(self.status)
        except WsresearchError as exc:  # removed meanwhile: whoever only looks at the object is told, not stopped
            told = str(exc)
        return f"<Capture {os.fspath(self.root)!r}: {told}>"

    # -- the collector: collect.process ---------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """What the capture is doing now."""
        return read_status(self.root)

    def start(self) -> Self:
        """Start the collector again as it was last configured; do nothing if it runs."""
        if process.running(self.root) is None:
            configured = read_identity(Layout(self.root)).config
            with contextlib.suppress(CaptureBusy):  # another thread was quicker, and asked for the same
                process.start(Config.from_json({**configured, "out": os.fspath(self.root)}))
        return self

    def stop(self, *, timeout: float = 60.0) -> Self:
        """Stop the collector and wait until everything is sealed; do nothing if none runs.

        Panels of this process that show the capture become static then.

        Raises
        ------
        CollectorError
            If it has not ended after ``timeout`` seconds, or runs on another machine.
        """
        process.stop(self.root, timeout=timeout)
        from wsresearch.notebook.registry import PANELS

        for shown in PANELS.of(self.root):
            shown.freeze()
        return self

    def reconnect(self) -> Self:
        """Cut the backoff short, or drop the connection and open another one at once."""
        process.signal_reconnect(self.root)
        return self

    # -- what it means: study -------------------------------------------------------------------------------------

    def attempts(self) -> pa.Table:
        """Every try to open a connection, see :func:`wsresearch.study.attempts`."""
        from wsresearch import study

        return study.attempts(self.events())

    def outages(self) -> pa.Table:
        """Every outage with its phases and its cost, see :func:`wsresearch.study.outages`."""
        from wsresearch import study

        return study.outages(self.events())

    def holes(self) -> pa.Table:
        """Every interval of ids that is still missing, see :func:`wsresearch.study.holes`."""
        from wsresearch import study

        return study.holes(self.events())

    def gaps(self, longer_than: float = 1.0) -> pa.Table:
        """Silences of more than so many seconds, see :func:`wsresearch.study.gaps`."""
        from wsresearch import study

        trades = self.trades(columns=["symbol", "recv_time", "connection"])
        return study.gaps(trades, longer_than=longer_than, outages=self.outages())

    def survival(self, of: str = "connections", **options: Any) -> pa.Table:
        """How long connections live, or outages last, see :func:`wsresearch.study.survival`."""
        from wsresearch import study

        if of not in {"connections", "outages"}:
            raise UsageError(f"survival is of connections or of outages, not of {of!r}")
        table = self.outages() if of == "outages" else study.connections(self.events(), stats=self.stats())
        return study.survival(table, **options)

    def replay(self, policy: Policy | str, **options: Any) -> pa.Table:
        """What another policy would have met in these outages, see :func:`wsresearch.study.replay`."""
        from wsresearch import study

        return study.replay(self._downs(), policy, **options)

    def compare(self, policies: Mapping[str, Any] | Iterable[Any] | str = COMPARED, **options: Any) -> pa.Table:
        """Several policies over these outages, the one they happened under first, see :func:`wsresearch.study.compare`.

        What is not said about reset rule and budget is as this capture was configured.
        """
        from wsresearch import study
        from wsresearch.study.policies import named

        config = self.identity.config
        own = Preset(
            policy=parse_policy(config["policy"]), reset=Reset.parse(config["reset"]), source="as it was recorded"
        )
        configured = {"reset": config["reset"], "budget": config["budget"]}
        contenders: dict[str, Any] = {AS_RECORDED: own, **named(policies)}
        return study.compare(contenders, self._downs(), **configured | options)

    def _downs(self) -> pa.Table:
        from wsresearch import study

        return study.server_down(self.events(), numbered=venue_named(self.identity.venue).has_sequence)

    def report(self) -> dict[str, Any]:
        """Return the document of ``wsresearch report --json``."""
        from wsresearch import study

        return study.report(self.events(), trades=self.totals().trades)

    # -- what it looks like: notebook -----------------------------------------------------------------------------

    def panel(self, *, stretch: str = "1 h", palette: str = "light") -> Panel:
        """Return a panel that shows and steers this capture; parameters as for :func:`panel`."""
        from wsresearch.notebook.desk import Panel
        from wsresearch.notebook.form import Form
        from wsresearch.notebook.panel import PanelFace

        return Panel(PanelFace(Form(), stretch=stretch, palette=palette), capture=self)

    def watch(self, seconds: float = 60.0, *, stretch: str = "1 h", palette: str = "light") -> None:
        """Show the same in the foreground for so long, without widgets; interrupting leaves it as it is.

        Where a front end does not show what happens in the background (Colab), this takes the place of a panel.
        """
        from wsresearch.notebook.recent import Stretch
        from wsresearch.notebook.watch import watch

        watch(self.root, seconds=seconds, stretch=Stretch.named(stretch), palette=palette)

    def _repr_html_(self) -> str:
        """Return what is to be seen of it now, every text from elsewhere escaped; :meth:`panel` has pictures too."""
        from wsresearch.notebook.watch import snapshot

        return snapshot(self.root)

    def report_text(self) -> str:
        """Return the outages as a table for a terminal."""
        from wsresearch.textreport import outage_table

        return outage_table(self.outages())

    def report_html(self) -> str:
        """Return one self-contained HTML document with pictures and tables."""
        from wsresearch.notebook.report import report_html

        identity, events, totals = self.identity, self.events(), self.totals()
        return report_html(
            events,
            title=f"{identity.venue}: {', '.join(identity.symbols)}",
            facts={
                "directory": os.fspath(self.root),
                "collecting since": identity.created.isoformat(timespec="seconds"),
                "policy": identity.config.get("policy", "unknown"),
                "reset rule": identity.config.get("reset", "unknown"),
                "idle timeout": f"{identity.config.get('idle_timeout', '?')} s",
                "segments": totals.segments,
                "bytes on disk": f"{totals.size_bytes:,}",
            },
            trades_count=totals.trades,
            trades=self.trades(columns=["recv_time", "connection"]),
            stats=self.stats(),
            idle_timeout=identity.config.get("idle_timeout"),
        )


def to_pandas(table: pa.Table, *, exact: bool = False) -> pd.DataFrame:
    """Convert a table of ours for pandas.

    Parameters
    ----------
    table
        Any table of a capture.
    exact
        Keep prices and quantities as :class:`decimal.Decimal`; by default they become float64, which pandas
        computes with a hundred times faster and which is exact to about 15 digits.
    """
    if not exact:
        for at, field in enumerate(table.schema):
            if pa.types.is_decimal(field.type):
                table = table.set_column(at, pa.field(field.name, pa.float64()), table[field.name].cast(pa.float64()))
    frame: pd.DataFrame = table.to_pandas()
    return frame
