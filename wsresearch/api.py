"""What users hold: :func:`collect`, :func:`open_capture` and :class:`Capture`; here the rooms meet, nothing is decided.

Each method says in one line which room does the work, and loads it: who only reads waits for no other room.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa

from wsresearch.capture.identity import read_identity
from wsresearch.capture.reader import Reader
from wsresearch.capture.window import seconds
from wsresearch.errors import CaptureBusy, UsageError, WsresearchError

if TYPE_CHECKING:
    from wsresearch.capture.window import Span
    from wsresearch.collect.config import make_config
    from wsresearch.collect.status import Status
    from wsresearch.lab import ExchangeProcess
    from wsresearch.notebook.desk import Panel
    from wsresearch.notebook.lab_panel import LabPanel
    from wsresearch.reconnect.backoff import Policy
    from wsresearch.study import Staleness, Sweep

_SWEPT: Final = ("symbol", "trade_id", "recv_time", "connection")

__all__ = ["Capture", "collect", "lab_panel", "make_config", "open_capture", "panel"]

AS_RECORDED: Final = "as recorded"
"""What the policy of a capture is called among others."""

COMPARED: Final = ("full-jitter", "equal-jitter", "exponential", "constant", "seed-okhttp", "seed-java-websocket")
"""What a capture's policy is compared with if nobody says."""


def __getattr__(name: str) -> Any:
    if name == "make_config":
        return importlib.import_module("wsresearch.collect.config").make_config
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def collect(stream: str, out: str | os.PathLike[str], **options: Any) -> Capture:
    """Collect in the background, or attach to the collector that already does.

    Parameters
    ----------
    stream
        What to collect, such as ``"binance:btcusdt,ethusdt"``.
    out
        The capture directory; made if it is not there.
    **options
        ``url, policy, reset, budget, max_attempts, idle_timeout, duration, …``: the fields of
        :class:`wsresearch.Config`, which ``help(wsresearch.collect)`` lists, and ``policy_args``, a dict of parameters
        for a policy given by name. A collector that already runs must have the same, ``duration`` too.

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
    from wsresearch.collect import process
    from wsresearch.collect.config import make_config

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
        from wsresearch.collect.status import read_status

        return read_status(self.root)

    def start(self) -> Self:
        """Start the collector again as it was last configured; do nothing if it runs."""
        from wsresearch.collect import process
        from wsresearch.collect.config import Config

        if process.running(self.root) is None:
            with contextlib.suppress(CaptureBusy):  # another thread was quicker, and asked for the same
                process.start(Config.from_json({**read_identity(self._layout).config, "out": os.fspath(self.root)}))
        return self

    def stop(self, *, timeout: float = 60.0) -> Self:
        """Stop the collector and wait until everything is sealed; do nothing if none runs.

        Panels of this process that show the capture become static then.

        Raises
        ------
        CollectorError
            If it has not ended after ``timeout`` seconds, or runs on another machine.
        """
        from wsresearch.collect import process
        from wsresearch.notebook.registry import PANELS

        process.stop(self.root, timeout=timeout)
        for shown in PANELS.of(self.root):
            shown.freeze()
        return self

    def reconnect(self) -> Self:
        """Cut the backoff short, or drop the connection and open another one at once."""
        from wsresearch.collect import process

        process.signal_reconnect(self.root)
        return self

    # -- what it means: study -------------------------------------------------------------------------------------

    def attempts(self) -> pa.Table:
        """Every try to open a connection, see :func:`wsresearch.study.attempts`."""
        from wsresearch import study

        return study.attempts(self.events())

    def outages(self, *, volume: bool = False) -> pa.Table:
        """Every outage with its phases and its cost, see :func:`wsresearch.study.outages`.

        With ``volume`` the quantity traded under the missing ids is estimated too: that reads every trade.
        """
        from wsresearch import study

        trades = self.batches(columns=["symbol", "trade_id", "quantity"]) if volume else None
        return study.outages(self.events(), trades=trades, numbered=self._numbered)

    def holes(self, *, settled: bool = False) -> pa.Table:
        """Every interval of ids that is still missing, see :func:`wsresearch.study.holes`.

        With ``settled`` those too of which it is known what became of them: filled, or absent at the venue.
        """
        from wsresearch import study

        self._need_numbers("holes")
        return study.holes(self.events(), settled=settled)

    def losses(self) -> pa.Table:
        """Who lost each missing id: wire, queue, parser, venue, or a stop of ours; see :mod:`wsresearch.study.loss`."""
        from wsresearch import study

        self._need_numbers("losses")
        return study.losses(self.events(), self.stats(), trades=self.batches(columns=_SWEPT))

    def gaps(self, longer_than: Span = 1.0, *, per_symbol: bool = False) -> pa.Table:
        """Silences longer than so many seconds, or than such as ``"1min"``, see :func:`wsresearch.study.gaps`."""
        from wsresearch import study

        trades = self.batches(columns=_SWEPT)
        return study.gaps(
            trades, longer_than=seconds(longer_than, "longer_than"), per_symbol=per_symbol, outages=self.outages()
        )

    def sweep(self, longer_than: Span = 1.0) -> Sweep:
        """Gaps, and ids missing by the rows themselves, in one pass, see :func:`wsresearch.study.sweep`."""
        from wsresearch import study

        longest = seconds(longer_than, "longer_than")
        return study.sweep(self.batches(columns=_SWEPT), longer_than=longest, outages=self.outages())

    def staleness(self, timeouts: Sequence[Span] | None = None, *, tolerated: float = 1.0) -> Staleness:
        """What each ``idle_timeout`` would have cost and saved, see :func:`wsresearch.study.staleness`."""
        from wsresearch import study

        if timeouts is not None and (isinstance(timeouts, str) or not isinstance(timeouts, Iterable)):
            raise UsageError(
                f"timeouts is {timeouts!r}: give several to compare, such as [10, 30, 60], or [{timeouts!r}]"
            )
        given = study.TIMEOUTS if timeouts is None else [seconds(each, "timeouts") for each in timeouts]
        lost = self.since_pruned(self.outages(), "began")
        swept = study.sweep(self.batches(columns=_SWEPT), outages=lost)
        return study.staleness(swept, lost, timeouts=given, tolerated=tolerated)

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
        from wsresearch.reconnect.presets import Preset, parse_policy
        from wsresearch.reconnect.reset import Reset
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

        return study.server_down(self.events(), numbered=self._numbered)

    def report(self) -> dict[str, Any]:
        """Return the document of ``wsresearch report --json``."""
        from wsresearch import study

        lost, stats, pruned = self.outages(), self.stats(), self.pruned()
        recent = self.since_pruned(lost, "began")
        swept = study.sweep(self.batches(columns=_SWEPT), outages=recent)
        return {"pruned": None if pruned is None else pruned.as_json()} | study.report(
            self.events(),
            outages=lost,
            trades=self.totals().trades,
            stats=stats,
            symbols=self.identity.symbols,
            swept=swept,
            removed={} if pruned is None else {name: known.rows for name, known in pruned.symbols.items()},
            losses=study.balance(self.losses(), stats) if self._numbered else None,
            stale=study.staleness(swept, recent),
        )

    @property
    def _numbered(self) -> bool:
        from wsresearch.venues import venue_named

        return venue_named(self.identity.venue).has_sequence

    def _need_numbers(self, what: str) -> None:
        if not self._numbered:
            raise UsageError(
                f"{what} are not defined for {self.identity.venue}: it does not number its trades (column 'trade_id'), "
                "so nobody can say that one is missing"
            )

    # -- what it looks like: notebook -----------------------------------------------------------------------------

    def panel(self, *, stretch: str = "1 h", palette: str = "light") -> Panel:
        """Return a panel that shows and steers this capture; parameters as for :func:`panel`."""
        from wsresearch.notebook.desk import Panel
        from wsresearch.notebook.panel import PanelFace

        return Panel(PanelFace(stretch=stretch, palette=palette), capture=self)

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
        """Return for a terminal the outages as a table, what ran without data, who lost what, and an idle timeout."""
        from wsresearch.textreport import report_text

        return report_text(self.report(), self.outages(), self.pruned())

    def report_html(self) -> str:
        """Return one self-contained HTML document with pictures and tables."""
        from wsresearch.notebook.gap_distribution import idle_timeout_of
        from wsresearch.notebook.inventory import Inventory
        from wsresearch.notebook.report import report_html
        from wsresearch.textreport import facts, silent_lines

        document = self.report()
        identity, events, totals = self.identity, self.events(), self.totals()
        return report_html(
            events,
            title=f"{identity.venue}: {', '.join(identity.symbols)}",
            facts=facts(self.root, identity, totals, document, self.pruned()),
            trades_count=totals.trades,
            trades=self.trades(columns=["recv_time", "connection"]),
            stats=self.stats(),
            idle_timeout=idle_timeout_of(self),
            missing=[*silent_lines(document), *Inventory(self._layout).take()],
        )
