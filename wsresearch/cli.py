"""The command line: parsing arguments and printing, nothing else.

Results go to stdout, progress and errors to stderr. Wrong use ends with exit code 2 and one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from wsresearch.errors import UsageError, WsresearchError
from wsresearch.exchange_command import exchange
from wsresearch.progress import ProgressLine, Rate
from wsresearch.prune_command import prune
from wsresearch.safetext import safe
from wsresearch.storm_command import storm

__all__ = ["app", "main"]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="How does a market-data connection fail and recover, and what did it cost?",
)

Directory = Annotated[Path, typer.Argument(help="The capture directory.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 and one line on stderr for whatever the user can mend."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal of an older encoding gets an escape where it has no character, not a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(args=given or ["--help"], standalone_mode=False, prog_name="wsresearch")
        sys.stdout.flush()
    except TyperException as exc:
        told = exc.format_message() if hasattr(exc, "format_message") else str(exc)
        _complain(told + _value_given(told, given))
        return 2
    except WsresearchError as exc:
        _complain(str(exc))
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `wsresearch report … | head`: the reader has seen enough.
        with contextlib.suppress(OSError):
            sys.stdout.close()
        return 0
    except OSError as exc:
        where = "" if exc.filename is None else f" ({exc.filename})"
        _complain(f"the operating system refused{where}: {exc.strerror or exc}")
        with contextlib.suppress(OSError):
            sys.stdout.close()  # what it did not take must not be tried again on the way out
        return 1
    if not given:
        return 2
    return code if isinstance(code, int) else 0


def _value_given(message: str, arguments: Sequence[str]) -> str:
    """Return the value that a message about an option is about, which the parser leaves out."""
    option = re.search(r"'(--[a-z-]+)'", message)
    if option is None or option[1] not in arguments[:-1]:
        return ""
    return f" (given: {arguments[arguments.index(option[1]) + 1]!r})"


def _complain(message: str) -> None:
    print(f"wsresearch: {safe(message, limit=600)}", file=sys.stderr)


def _print_json(document: Any) -> None:
    # In ASCII: what a peer or a file wrote must not steer a terminal, turn text around or break a pipe's encoding.
    print(json.dumps(document, indent=2, default=str))


# -- collecting -----------------------------------------------------------------------------------------------------


@app.command()
def collect(
    stream: Annotated[
        str | None, typer.Argument(help="What to collect: venue:symbol[,symbol…], such as binance:btcusdt.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The capture directory; made if it is not there.")] = None,
    url: Annotated[
        str | None, typer.Option(help="Use this scheme, host and port, such as ws://127.0.0.1:9443.")
    ] = None,
    policy: Annotated[str, typer.Option(help="Backoff policy or preset, by name.")] = "full-jitter",
    policy_arg: Annotated[
        list[str] | None, typer.Option(help="A parameter of the policy as name=seconds; may be repeated.")
    ] = None,
    reset: Annotated[
        str | None,
        typer.Option(
            help="What returns the policy to its first delay: open, message or stable:SECONDS. "
            "[default: stable:60, or that of the preset]"
        ),
    ] = None,
    idle_timeout: Annotated[float, typer.Option(help="Seconds without market data that count as a stall.")] = 30.0,
    budget: Annotated[str, typer.Option(help="Attempts allowed in any window, as ATTEMPTS/SECONDS.")] = "60/300",
    max_attempts: Annotated[int | None, typer.Option(help="Give up after so many attempts in a row.")] = None,
    duration: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    rotate_age: Annotated[float, typer.Option(help="Seal a segment after so many seconds.")] = 300.0,
    seed: Annotated[int | None, typer.Option(help="Make the jitter repeatable.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Collect in the background and return.")] = False,
    as_json: AsJson = False,
) -> int:
    """Collect trades into a directory until stopped (Ctrl-C, SIGTERM, or 'wsresearch stop').

    Exit code: 0 stopped, 3 a failure that trying again cannot mend, 4 gave up after the last permitted attempt.
    """
    from wsresearch.collect.memory import ARROW_POOL

    os.environ.setdefault(*ARROW_POOL)  # before pyarrow is loaded, which the others do
    from wsresearch.api import make_config
    from wsresearch.capture.layout import Layout
    from wsresearch.collect.here import collect_here
    from wsresearch.collect.process import start_detached
    from wsresearch.schema import TableName

    if stream is None or out is None:
        raise UsageError("give a stream and a directory, such as: wsresearch collect binance:btcusdt --out data/btc")
    asked = make_config(
        stream,
        out,
        url=url,
        policy=policy,
        policy_args=dict(_pairs(policy_arg or [])),
        reset=reset,
        idle_timeout=idle_timeout,
        budget=budget,
        max_attempts=max_attempts,
        duration=duration,
        rotate_age=rotate_age,
        seed=seed,
    )
    if detach:
        started = start_detached(asked)
        if as_json:
            _print_json({"pid": started.pid, "run": started.run})
        else:
            print(f"collecting {asked.stream} into {asked.out} as pid {started.pid}, run {started.run}")
            print(f"watch it with 'wsresearch status {asked.out}', stop it with 'wsresearch stop {asked.out}'")
        return 0
    line = ProgressLine()
    rate = Rate()

    def show(collector: Any) -> None:
        status = collector.status
        line.show(f"{rate.of(status.trades):8,.0f}/s · {status}", key=f"{status.state} {status.connection}")

    code = collect_here(asked, watch=show)
    line.close()
    from wsresearch.collect.status import read_status

    status = read_status(asked.out)
    if as_json:
        _print_json(status.as_json())
    else:
        print(status)
    layout = Layout(asked.out)
    if left := [str(segment) for table in TableName for segment in layout.journals(table)]:
        # The way out takes two seconds and no more.
        print(
            f"not sealed yet, but stored: {', '.join(left)}; the next start seals them, or 'wsresearch recover "
            f"{asked.out}'",
            file=sys.stderr,
        )
    return code


@app.command()
def status(
    directory: Directory,
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C or the collector ends.")
    ] = False,
) -> int:
    """Say what a capture is doing. Exit code: 0 running, 1 stopped cleanly, 2 unreadable, 3 failed or gave up."""
    from wsresearch.collect.status import read_status

    now = read_status(directory)
    if as_json:
        _print_json(now.as_json())
        return now.exit_code
    line, rate = ProgressLine(), Rate()
    rate.of(now.trades)
    # A rate takes two looks; a terminal is worth the half second.
    if watch or (sys.stderr.isatty() and now.pid is not None):
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(0.5)
                now = read_status(directory)
                line.show(f"{rate.of(now.trades):8,.0f}/s · {now}", key=f"{now.state} {now.connection}")
                if not watch or now.pid is None:
                    break
        line.close()
        return now.exit_code
    print(now)
    return now.exit_code


@app.command()
def stop(directory: Directory) -> int:
    """Stop the collector of a capture and wait until everything is sealed."""
    from wsresearch.capture.identity import read_identity
    from wsresearch.capture.layout import Layout
    from wsresearch.collect import process

    read_identity(Layout(directory))
    stopped = process.stop(directory)
    print(f"stopped {directory}" if stopped else f"no collector was running on {directory}")
    return 0


@app.command()
def reconnect(directory: Directory) -> int:
    """Cut the backoff short, or drop the connection and open another one at once."""
    from wsresearch.capture.identity import read_identity
    from wsresearch.capture.layout import Layout
    from wsresearch.collect import process

    read_identity(Layout(directory))
    pid = process.signal_reconnect(directory)
    print(f"pid {pid} reconnects now")
    return 0


# -- looking --------------------------------------------------------------------------------------------------------


@app.command()
def report(
    directory: Directory,
    out: Annotated[Path | None, typer.Option(help="Write one self-contained HTML file here.")] = None,
    compare: Annotated[
        str | None,
        typer.Option(help="Replay the outages with others, such as 'full-jitter,constant(delay=2),seed-okhttp'."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Tell what broke, how it recovered and what it cost; as text, as JSON, or as one HTML file with pictures.

    Text and JSON also tell who lost what is missing, and which idle timeout the recorded traffic asks for.
    """
    from wsresearch.api import open_capture

    capture = open_capture(directory)
    compared = None
    if compare is not None:
        line = ProgressLine()
        compared = capture.compare(compare, progress=lambda done, of: line.show(f"replayed {done:,} of {of:,} outages"))
        line.close()
    if out is not None:
        page = capture.report_html()
        try:
            out.write_text(page, encoding="utf-8")
        except OSError as exc:
            raise UsageError(f"{str(out)!r} cannot be written ({exc.strerror}): give the path of a new file") from exc
        print(f"wrote {out}", file=sys.stderr)
    if as_json:
        told = capture.report()
        _print_json(told if compared is None else told | {"comparison": compared.to_pylist()})
        return 0
    if out is None:
        print(capture.report_text())
    if compared is not None:
        from wsresearch.textreport import comparison_table

        print("\n" + comparison_table(compared))
    return 0


@app.command()
def verify(directory: Directory, as_json: AsJson = False) -> int:
    """Check every segment, the coverage of ids, duplicates and seals. Exit code 0 only if all is well."""
    from wsresearch.capture.verify import verify as check

    line = ProgressLine()
    result = check(directory, progress=lambda done, all_: line.show(f"verified {done} of {all_} segments"))
    line.close()
    document = result.as_json()
    if as_json:
        _print_json(document)
    else:
        print(
            f"{document['rows']:,} trades in {document['segments']} segments, {document['duplicates']} duplicates, "
            f"{len(document['holes'])} holes"
        )
        for symbol, told in document["symbols"].items():
            ids = f" ({told['first_id']} to {told['last_id']})" if told["first_id"] is not None else ""
            print(f"  {safe(symbol)}: {told['rows']:,} rows, {told['missing']:,} missing ids{ids}")
        for note in result.notes:
            print(f"  note: {safe(note, limit=400)}")
        for problem in document["problems"]:
            print(f"  problem: {safe(problem, limit=400)}")
        print("all is well" if document["ok"] else "NOT well: see the problems above")
    return 0 if document["ok"] else 1


@app.command()
def recover(directory: Directory) -> int:
    """Do by hand what a collector does when it starts: remove temporary files and seal every journal left.

    Exit code: 0 done, 1 if a journal could not be sealed (its rows are still read from there).
    """
    from wsresearch.capture.identity import read_identity
    from wsresearch.capture.layout import Layout
    from wsresearch.capture.seal import recover as repair
    from wsresearch.collect.lock import held

    read_identity(Layout(directory))
    with held(directory):
        done = repair(directory)
    print(
        f"sealed {len(done.sealed)} segments, removed {done.temporaries_removed} temporary files, "
        f"quarantined {len(done.quarantined)} files"
    )
    for problem in done.problems:
        print(f"  problem: {safe(problem, limit=400)}")
    for segment, why in done.unsealed:
        print(f"  could not be sealed yet: {segment}: {safe(why, limit=400)}")
    return 1 if done.unsealed else 0


# -- trying out -----------------------------------------------------------------------------------------------------


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="How long; the fault plan is stretched to fit.", min=10)] = 30.0,
    out: Annotated[Path, typer.Option(help="Where the capture and the picture go.")] = Path("demo-output"),
) -> int:
    """Show the whole thing offline: a local exchange with faults, a collector, and the truth against the disk."""
    from wsresearch.demo import run

    return run(seconds=seconds, out=out)


for command in (prune, exchange, storm):
    app.command()(command)


@app.command()
def notebook(
    directory: Annotated[
        Path, typer.Argument(help="Your copy of the notebooks; what you have changed in it stays as it is.")
    ] = Path("wsresearch-notebooks"),
    to_jupyterlab: Annotated[
        list[str] | None,
        typer.Argument(help="After '--': options for JupyterLab, such as --no-browser.", show_default=False),
    ] = None,
    only_copy: Annotated[bool, typer.Option("--only-copy", help="Copy them, but do not start JupyterLab.")] = False,
) -> int:
    """Open JupyterLab on a copy of the notebooks."""
    from wsresearch.handout import hand_out, open_lab, originals, require_lab

    if not only_copy:
        require_lab()
    copies = hand_out(directory, originals())
    changes = {"new": copies.written, "brought up to date": copies.renewed, "removed": copies.removed}
    told = [f"{len(names)} {what}" for what, names in changes.items() if names]
    told += [f"{len(copies.kept)} of yours kept: {', '.join(copies.kept)}"] if copies.kept else []
    print(f"{directory}: {'; '.join(told) or 'all is there'}")
    if not only_copy:
        sys.stdout.flush()
        open_lab(directory, to_jupyterlab or ())
    return 0


# -- small parts ----------------------------------------------------------------------------------------------------


def _pairs(arguments: list[str]) -> Iterator[tuple[str, str]]:
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name:
            raise UsageError(f"policy-arg {argument!r} must be name=seconds, such as cap=30")
        yield name.strip(), value.strip()
