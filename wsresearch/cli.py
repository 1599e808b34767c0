"""The command line: parsing arguments and printing, nothing else.

Results go to stdout, progress and errors to stderr. Wrong use ends with exit code 2 and one line.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from wsresearch.collect_command import collect
from wsresearch.errors import WsresearchError
from wsresearch.exchange_command import exchange
from wsresearch.outfile import check_out, write_out
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
        _complain(told + _value_given(told, given) + _meant(told, given))
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


def _meant(message: str, arguments: Sequence[str]) -> str:
    """Return what to do about a directory where `collect` takes none."""
    extra = re.search(r"unexpected extra argument\S* \((\S+?)[) ]", message)
    if extra is None or arguments[0] != "collect":
        return ""
    return f": the capture directory is given as --out {extra[1]}"


def _complain(message: str) -> None:
    print(f"wsresearch: {safe(message, limit=600)}", file=sys.stderr)


def _print_json(document: Any) -> None:
    # In ASCII: what a peer or a file wrote must not steer a terminal, turn text around or break a pipe's encoding.
    print(json.dumps(document, indent=2, default=str))


# -- collecting -----------------------------------------------------------------------------------------------------


app.command()(collect)


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
    rate.told(now.trades)
    # A rate takes two looks; a terminal is worth the half second.
    if watch or (sys.stderr.isatty() and now.pid is not None):
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(0.5)
                now = read_status(directory)
                speed = "" if now.pid is None else rate.told(now.trades)  # what nobody collects has none
                line.show(f"{speed}{now}", key=f"{now.state} {now.connection}")
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

    check_out(out)
    capture = open_capture(directory)
    compared = None
    if compare is not None:
        line = ProgressLine()

        def show(done: int, of: int) -> None:
            text = f"replayed {100 * done // of if of else 100} % of the outages under all policies"
            line.show(text, key="done" if done >= of else "")

        compared = capture.compare(compare, progress=show)
        line.close()
    if as_json:
        told = capture.report()
        _print_json(told if compared is None else told | {"comparison": compared.to_pylist()})
    else:
        if out is None:
            print(capture.report_text())
        if compared is not None:
            from wsresearch.textreport import comparison_table

            print("\n" + comparison_table(compared))
    if out is not None:
        write_out(out, capture.report_html().encode())
    return 0


@app.command()
def verify(directory: Directory, as_json: AsJson = False) -> int:
    """Check every segment, the coverage of ids, duplicates and seals. Exit code 0 only if all is well."""
    from wsresearch.capture.verify import verify as check

    line = ProgressLine()
    result = check(
        directory,
        progress=lambda done, of: line.show(f"verified {done} of {of} segments", key="done" if done >= of else ""),
    )
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
