"""Defects to plant, one at a time, and the tests that ought to notice; planting them is not done here.

Each is a mistake that collectors really make, or made here once: a text of the source, what stands in its place, and
the tests in which at least one must fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DEFECTS", "Defect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One planted defect.

    Attributes
    ----------
    name
        What is wrong then.
    path
        The module below ``wsresearch/``.
    old, new
        A text that occurs there exactly once, and its replacement.
    tests
        Below ``tests/``; one of them must fail.
    """

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]


DEFECTS: Final = (
    # -- rules of reconnection ----------------------------------------------------------------------------------
    Defect(
        name="the policy starts anew on every opened connection",
        path="reconnect/reset.py",
        old="return opened and alive >= self.seconds",
        new="return opened",
        tests=("reconnect/test_reset.py",),
    ),
    Defect(
        name="the policy starts anew on any message",
        path="reconnect/reset.py",
        old="return opened and alive >= self.seconds",
        new="return opened and messages",
        tests=("reconnect/test_reset.py",),
    ),
    Defect(
        name="jitter is rounded to whole seconds",
        path="reconnect/lifecycle.py",
        old="delay, cause = at_least + (drawn or 0.0), ",
        new="delay, cause = at_least + float(round(drawn or 0.0)), ",
        tests=("reconnect/test_lifecycle.py",),
    ),
    Defect(
        name="clients that are told the same come in step",
        path="reconnect/lifecycle.py",
        old="delay, cause = at_least + (drawn or 0.0), ",
        new="delay, cause = max(at_least, drawn or 0.0), ",
        tests=("reconnect/test_lifecycle.py",),
    ),
    Defect(
        name="the last permitted attempt is not the last",
        path="reconnect/lifecycle.py",
        old="self._streak > self.rules.max_attempts",
        new="self._streak > self.rules.max_attempts + 1",
        tests=("reconnect/test_lifecycle.py",),
    ),
    Defect(
        name="attempts are not counted against the budget",
        path="reconnect/lifecycle.py",
        old="        self.budget.spend(now)\n",
        new="",
        tests=("reconnect/test_lifecycle.py",),
    ),
    Defect(
        name="a restart gets a fresh budget",
        path="collect/collector.py",
        old="past.attempts_by(self._anchor)",
        new="()",
        tests=("collect/test_collector.py::test_the_budget_outlives_the_process",),
    ),
    Defect(
        name="certificate errors are tried again",
        path="reconnect/causes.py",
        old="        Cause.CERTIFICATE: _permanent(",
        new="        Cause.CERTIFICATE: _three_strikes(",
        tests=("reconnect/test_causes.py",),
    ),
    Defect(
        name="429 ends the run",
        path="reconnect/causes.py",
        old="429: _Rule(severity=Severity.WAIT, at_least=60.0)",
        new='429: _permanent("wait")',
        tests=("reconnect/test_causes.py",),
    ),
    Defect(
        name="Retry-After is ignored",
        path="reconnect/causes.py",
        old="    if told is not None:\n",
        new="    if told is None and told:\n",
        tests=("reconnect/test_causes.py",),
    ),
    Defect(
        name="a connection that never delivers is never a stall",
        path="reconnect/lifecycle.py",
        old="        self.deadline = now + self.rules.idle_timeout\n        return [self._record(EventKind.OPENED",
        new="        self.deadline = None\n        return [self._record(EventKind.OPENED",
        tests=("collect/test_collector.py::test_a_dead_peer_is_not_bidden_farewell",),
    ),
    Defect(
        name="whoever gives up says nothing",
        path="reconnect/lifecycle.py",
        old="            return [self._record(EventKind.GAVE_UP, now, cause=failure.cause, detail=detail)]\n",
        new="            return []\n",
        tests=("reconnect/test_lifecycle.py",),
    ),
    Defect(
        name="giving up looks like success to a shell",
        path="reconnect/lifecycle.py",
        old="State.GAVE_UP: 4})",
        new="State.GAVE_UP: 0})",
        tests=("reconnect/test_lifecycle.py",),
    ),
    # -- what the venue says ------------------------------------------------------------------------------------
    Defect(
        name="an id goes through a float",
        path="venues/binance_decode.py",
        old="ids = [trade.t for trade in trades]",
        new="ids = [int(float(trade.t)) for trade in trades]",
        tests=("venues/test_binance_decode.py",),
    ),
    Defect(
        name="a text passes for a number",
        path="venues/binance_decode.py",
        old="_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)",
        new="_ENVELOPE: Final = msgspec.json.Decoder(_Envelope, strict=False)",
        tests=("venues/test_binance_decode.py",),
    ),
    Defect(
        name="a price goes through a float",
        path="venues/checks.py",
        old="    values = column.cast(DECIMAL)\n",
        new="    values = column.cast(pa.float64()).cast(DECIMAL)\n",
        tests=("venues/test_checks.py",),
    ),
    Defect(
        name="a value that is refused takes its block with it",
        path="venues/binance_decode.py",
        old="batch=batch.filter(pa.array(good))",
        new="batch=batch.filter(pa.array(good & good.all()))",
        tests=("venues/test_binance_decode.py",),
    ),
    Defect(
        name="a message that is unreadable takes its block with it",
        path="venues/binance_decode.py",
        old="                row = _other_form(messages[len(rows)], tried=first)\n",
        new="                return [None] * len(messages)\n",
        tests=("venues/test_binance_decode.py",),
    ),
    # -- blocks by the column -----------------------------------------------------------------------------------
    Defect(
        name="by the column: what is no digit passes in a long number",
        path="venues/columns.py",
        old="    good[long] &= readable[count:]\n",
        new="",
        tests=("venues/test_columns.py", "venues/test_binance_columns.py"),
    ),
    Defect(
        name="by the column: a number may begin with zeros",
        path="venues/binance_columns.py",
        old=" & ~has_leading_zero(numbers[:whole], lengths[numeric[:whole]]).any(axis=0)",
        new="",
        tests=("venues/test_binance_columns.py",),
    ),
    Defect(
        name="by the column: any time the venue sent it is plausible",
        path="venues/binance_columns.py",
        old=" & within(self._times, event_time)",
        new="",
        tests=("venues/test_binance_columns.py",),
    ),
    Defect(
        name="by the column: rows of one shape come before those of another",
        path="venues/binance_decode.py",
        old="return batch if (np.diff(rows) > 0).all() else batch.take(pa.array(np.argsort(rows)))",
        new="return batch",
        tests=("venues/test_binance_columns.py",),
    ),
    Defect(
        name="by the column: a bad row takes its block with it",
        path="venues/binance_columns.py",
        old="        if not good.all():\n",
        new="        good &= good.all()\n        if not good.all():\n",
        tests=("venues/test_binance_columns.py",),
    ),
    Defect(
        name="drops of a part of a block are not counted",
        path="collect/inbox.py",
        old="            counters.dropped += len(block) - fit\n",
        new="",
        tests=("collect/test_inbox.py",),
    ),
    # -- the collector ------------------------------------------------------------------------------------------
    Defect(
        name="two reconnects for one loss",
        path="collect/collector.py",
        old='                self._opening = self._tasks.spawn(self._open(action.at), "open")\n',
        new='                self._opening = self._tasks.spawn(self._open(action.at), "open")\n'
        '                self._tasks.spawn(self._open(action.at), "open")\n',
        tests=("collect/test_collector.py::test_a_dead_peer_is_not_bidden_farewell",),
    ),
    Defect(
        name="a stop waits for the end of the backoff",
        path="collect/collector.py",
        old="        return await happens_before(self._wake, limit)\n",
        new="        if limit is not None:\n            await limit\n            return False\n"
        "        return await happens_before(self._wake, None)\n",
        tests=("collect/test_collector.py::test_stop_is_immediate_from_every_state",),
    ),
    Defect(
        name="the kernel's signals reach the collector",
        path="collect/process.py",
        old="        start_new_session=True,\n",
        new="",
        tests=("collect/test_process.py::test_the_collector_outlives_its_parent",),
    ),
    Defect(
        name="a recycled pid passes for the collector",
        path="collect/lock.py",
        old="same = ticks == self.ticks if ticks and self.ticks else self._started_with(process)",
        new="same = process.is_running()",
        tests=("collect/test_lock.py::test_a_recycled_pid_is_recognised",),
    ),
    Defect(
        name="a clock that is set hides the collector",
        path="collect/lock.py",
        old="same = ticks == self.ticks if ticks and self.ticks else self._started_with(process)",
        new="same = self._started_with(process)",
        tests=("collect/test_lock.py::test_a_clock_that_is_set_does_not_hide_a_collector",),
    ),
    Defect(
        name="two collectors on one directory",
        path="collect/lock.py",
        old="        lock.acquire()\n",
        new="        lock.lock_counter\n",
        tests=("collect/test_lock.py::test_a_second_holder_is_refused_with_the_pid_of_the_first",),
    ),
    Defect(
        name="what is at or below the highest id is a duplicate",
        path="collect/sequence.py",
        old="        elif number in known.seen:\n",
        new="        elif number <= high:\n",
        tests=("collect/test_sequence.py",),
    ),
    Defect(
        name="one absurd id moves the end of the sequence",
        path="collect/sequence.py",
        old="        if number - high - 1 > LEAP and not (",
        new="        if number - high - 1 > 2**63 and not (",
        tests=("collect/test_sequence.py",),
    ),
    Defect(
        name="a start forgets which ids were spent without a trade",
        path="collect/resume.py",
        old='        if row["cause"] == Where.VACANT:\n',
        new='        if row["cause"] is Where.VACANT:\n',
        tests=("collect/test_collector.py::test_ids_spent_right_before_a_stop_are_no_holes_of_the_next_run",),
    ),
    Defect(
        name="drops are not counted",
        path="collect/inbox.py",
        old="            counters.dropped += 1\n",
        new="",
        tests=("collect/test_inbox.py",),
    ),
    Defect(
        name="drops are counted and not told",
        path="collect/chronicle.py",
        old="        if counted.dropped:\n",
        new="        if counted.dropped < 0:\n",
        tests=("collect/test_collector.py::test_overflow_is_counted_and_is_a_hole_and_no_stall",),
    ),
    Defect(
        name="the queue has no bound",
        path="collect/inbox.py",
        old="if self.held_bytes + size + PER_MESSAGE > self.limit:",
        new="if self.limit < 0:",
        tests=("collect/test_inbox.py",),
    ),
    Defect(
        name="the queue counts payload only",
        path="venues/frames.py",
        old="return self.nbytes + PER_MESSAGE * len(self)",
        new="return self.nbytes",
        tests=("collect/test_inbox.py::test_empty_messages_are_bounded_too",),
    ),
    Defect(
        name="bytes are let go before they are in the journal",
        path="collect/intake.py",
        old="size=size, written=self._release",
        new="size=size, written=self._inbox.release(size) or (lambda _: None)",
        tests=("collect/test_intake.py",),
    ),
    Defect(
        name="acks and heartbeats feed the idle timeout",
        path="collect/intake.py",
        old="            return Heard(first_ns=None, last_ns=None, news=[], announced=announced)\n",
        new="            first_ns, last_ns = frames.recv_ns[[0, -1]].tolist()\n"
        "            return Heard(first_ns=first_ns, last_ns=last_ns, news=[], announced=announced)\n",
        tests=("collect/test_collector.py::test_only_market_data_is_a_sign_of_life",),
    ),
    Defect(
        name="what a connection dropped is a sign of life of the next one",
        path="collect/collector.py",
        old="        self._inbox.last_drop_ns = None\n        url",
        new="        url",
        tests=("collect/test_collector.py::test_what_one_connection_dropped_is_no_sign_of_life_of_the_next",),
    ),
    Defect(
        name="a dead peer is bidden farewell",
        path="collect/collector.py",
        old="                    self._link.abort()\n                    self._link = None\n",
        new='                    self._tasks.spawn(self._link.close(), "close")\n'
        "                    self._link = None\n",
        tests=("collect/test_collector.py::test_a_dead_peer_is_not_bidden_farewell",),
    ),
    Defect(
        name="whoever slept judges a peer before it has read the answer",
        path="collect/connection.py",
        old="            if not is_overslept(due, time.monotonic()):\n                return False\n",
        new="            return False\n",
        tests=("collect/test_transport.py::test_a_ping_whose_answer_came_while_this_process_slept",),
    ),
    Defect(
        name="whoever does not answer a ping is given time to say goodbye",
        path="collect/connection.py",
        old="                self.send_data()\n                self.ending.set()\n",
        new="                self.send_data()\n",
        tests=("collect/test_transport.py::test_a_half_open_connection",),
    ),
    Defect(
        name="the end of TCP is waited for after the goodbye",
        path="collect/transport.py",
        old="            self._websocket.transport.abort()\n            if not reader.done():\n",
        new="            if not reader.done():\n",
        tests=("collect/test_transport.py::test_a_close_frame_while_tcp_stays_open",),
    ),
    Defect(
        name="any certificate will do",
        path="collect/transport.py",
        old="            self._tls = context\n",
        new="            context.check_hostname = False\n"
        "            context.verify_mode = ssl.CERT_NONE\n"
        "            self._tls = context\n",
        tests=("collect/test_transport.py::test_certificates_that_do_not_hold",),
    ),
    Defect(
        name="a redirect to another server is followed",
        path="collect/transport.py",
        old="if (here.scheme, here.netloc) != (there.scheme, there.netloc):",
        new="if here.scheme != there.scheme:",
        tests=("collect/test_transport.py::test_a_redirect_elsewhere_is_not_followed",),
    ),
    Defect(
        name="a header that comes twice is a defect of ours",
        path="collect/transport.py",
        old="[] if response is None else response.headers.get_all(header)",
        new="[] if response is None or header not in response.headers else [response.headers[header]]",
        tests=("collect/test_transport.py::test_of_several_times_to_come_back_the_latest_counts",),
    ),
    Defect(
        name="a question that no thread works on is waited for",
        path="collect/reach.py",
        old="        answer: Future[Addresses] = Future()\n",
        new="        answer: Future[Addresses] = Future()\n        self._asked[host, port] = answer\n",
        tests=("collect/test_transport.py::test_a_name_that_once_could_not_be_looked_up_for_want_of_means",),
    ),
    Defect(
        name="a date beyond all years is a defect of ours",
        path="reconnect/causes.py",
        old="    except (ValueError, OverflowError):\n",
        new="    except ValueError:\n",
        tests=("collect/test_transport.py::test_a_clock_that_is_told_twice_or_absurdly",),
    ),
    Defect(
        name="pings need no answer",
        path="collect/transport.py",
        old="                ping_timeout=self.ping_timeout,\n",
        new="                ping_timeout=None,\n",
        tests=("collect/test_transport.py::test_a_half_open_connection",),
    ),
    Defect(
        name="a hole across a stop is told as one inside a connection",
        path="collect/sequence.py",
        old="        where = Where.STOP\n",
        new="        where = Where.CONNECTION\n",
        tests=("collect/test_sequence.py::test_where_a_hole_lies",),
    ),
    Defect(
        name="the receive path waits for the disk",
        path="collect/recorder.py",
        old="            self._check(self._append_in.submit(self._write_waiting))\n",
        new="            self._write_waiting()\n",
        tests=("collect/test_recorder.py::test_a_disk_that_hangs_keeps_nobody_waiting",),
    ),
    Defect(
        name="what a full disk took half of is written twice",
        path="collect/recorder.py",
        old="                rest = exc.remaining\n",
        new="",
        tests=("collect/test_recorder.py::test_rows_that_the_disk_took_before_it_failed_do_not_count_as_lost",),
    ),
    Defect(
        name="rows wait for the seal of the segment before them",
        path="collect/recorder.py",
        old="        self._check(self._seal_in.submit(self._sealing.finished, segment))\n",
        new="        self._sealing.finished(segment)\n",
        tests=("collect/test_recorder.py::test_slow_sealing_delays_no_append",),
    ),
    Defect(
        name="a disk that is away is taken for a capture that is gone",
        path="collect/trying.py",
        old="        except OSError:\n            return False\n",
        new="        except OSError:\n            return True\n",
        tests=("collect/test_recorder.py::test_a_disk_that_is_away_altogether_is_no_capture_that_is_gone",),
    ),
    Defect(
        name="rows that a defect kept from being written are not counted",
        path="collect/recorder.py",
        old="            if not written:  # whatever the reason, a defect included\n",
        new="            if not written and self._giving_up.is_set():\n",
        tests=("collect/test_recorder.py::test_whatever_ends_the_writing_of_rows_they_are_counted_and_let_go",),
    ),
    Defect(
        name="each batch that waits for a full disk waits alone",
        path="collect/waiting.py",
        old="turn.rows + batch.num_rows <= _JOINED and",
        new="turn.rows + batch.num_rows <= 0 and",
        tests=("collect/test_waiting.py::test_batches_that_wait_are_written_together_and_told_of_together",),
    ),
    Defect(
        name="a row that came later is written before an event",
        path="collect/waiting.py",
        old="            if turn.table in {TableName.TRADES, TableName.EVENTS}:\n",
        new="            if turn.table is TableName.TRADES:\n",
        tests=("collect/test_waiting.py::test_nothing_is_lost_or_doubled_and_trades_and_events_keep_their_order",),
    ),
    Defect(
        name="a segment that begins within rows that waited knows nothing of those before it",
        path="collect/recorder.py",
        old="            self._note_written(recorded.num_rows)\n",
        new="",
        tests=("collect/test_recorder.py::test_a_segment_that_begins_within_rows_that_waited_knows_those_before_it",),
    ),
    Defect(
        name="ticks pile up before a disk that is slow to sync",
        path="collect/recorder.py",
        old="        if not self._tick_waits:\n",
        new="        if not self._closed:\n",
        tests=("collect/test_recorder.py::test_no_more_than_one_tick_waits_for_a_disk_that_is_slow_to_sync",),
    ),
    Defect(
        name="each finished segment tries all that could not be sealed",
        path="collect/sealing.py",
        old="                refused.add(segment.table)\n",
        new="",
        tests=("collect/test_recorder.py::test_a_folder_that_takes_no_seal_is_told_once_and_asked_once_a_segment",),
    ),
    Defect(
        name="one segment that cannot be sealed keeps the others from it",
        path="collect/sealing.py",
        old="                self.unsealed.remove(segment)\n                self.unsealed.append(segment)\n",
        new="",
        tests=("collect/test_recorder.py::test_a_segment_that_cannot_be_sealed_keeps_no_other_from_it",),
    ),
    # -- the disk -----------------------------------------------------------------------------------------------
    Defect(
        name="a journal's messages are not checked against their checksum",
        path="capture/journal.py",
        old="if len(message) != record.length or zlib.crc32(message) != record.crc:",
        new="if len(message) != record.length:",
        tests=("capture/test_journal.py::test_a_bit_of_every_byte_of_the_data_flipped",),
    ),
    Defect(
        name="a record is written before its message",
        path="capture/append.py",
        old="        self._disk.write(data, content)\n        self._disk.write(index, record.pack(self.segment))\n",
        new="        self._disk.write(index, record.pack(self.segment))\n        self._disk.write(data, content)\n",
        tests=("capture/test_writer.py::test_a_reader_that_looks_between_any_two_writes_sees_no_damage",),
    ),
    Defect(
        name="Parquet files are listed before journals",
        path="capture/scan.py",
        old="    journals = layout.journals(table)  # first, and what was pruned last: see the argument above\n"
        "    sealed = layout.sealed(table)\n",
        new="    sealed = layout.sealed(table)\n    journals = layout.journals(table)\n",
        tests=("capture/test_reader.py::test_a_read_interrupted_at_every_step",),
    ),
    Defect(
        name="the journal goes before its Parquet file has its name",
        path="capture/seal.py",
        old="    disk.rename(temporary, layout.parquet_path(segment, date))\n",
        new="    disk.unlink(layout.journal_path(segment))\n"
        "    disk.rename(temporary, layout.parquet_path(segment, date))\n",
        tests=("capture/test_seal.py::test_the_steps_of_a_seal_are_those_of_the_contract_in_that_order",),
    ),
    Defect(
        name="what was sealed is not read back",
        path="capture/seal.py",
        old="        if wrong:\n",
        new="        if wrong and not segment:\n",
        tests=("capture/test_seal.py::test_a_disk_that_returns_other_bytes_keeps_the_journal",),
    ),
    Defect(
        name="no folder is synced before the journal goes",
        path="capture/seal.py",
        old="        for folder in (path.parent, layout.table_dir(segment.table), layout.root):\n"
        "            on_step()\n            disk.fsync_dir(folder)\n",
        new="",
        tests=("capture/test_seal.py::test_the_steps_of_a_seal_are_those_of_the_contract_in_that_order",),
    ),
    Defect(
        name="a stop waits for sealing, however long it takes",
        path="collect/recorder.py",
        old="        if self._leaving.is_set():\n            raise SealCutShort\n",
        new="        return\n",
        tests=("collect/test_recorder.py", "collect/test_leaving.py"),
    ),
    Defect(
        name="a number used up for nothing looks like a segment that has gone",
        path="capture/writer.py",
        old="            carried[UNUSED_KEY] = str(unused).encode()\n",
        new="            pass\n",
        tests=("capture/test_verify.py",),
    ),
    Defect(
        name="a journal is truncated under its readers",
        path="capture/seal.py",
        old="            with suppress(FileNotFoundError):\n                disk.unlink(name)\n    disk.fsync_dir",
        new="            with suppress(FileNotFoundError):\n                os.truncate(name, 0)\n"
        "                disk.unlink(name)\n    disk.fsync_dir",
        tests=("capture/test_reader.py::test_a_read_interrupted_at_every_step",),
    ),
    Defect(
        name="a segment crosses midnight",
        path="capture/writer.py",
        old="        if first == last:\n",
        new="        if first <= last:\n",
        tests=("capture/test_writer.py::test_a_batch_over_midnight_becomes_two_segments",),
    ),
    Defect(
        name="others may read what was collected",
        path="capture/disk.py",
        old="_FOLDER_MODE: Final = 0o700",
        new="_FOLDER_MODE: Final = 0o755",
        tests=("capture/test_writer.py::test_only_the_owner_can_read_what_is_recorded",),
    ),
    Defect(
        name="a symbolic link is followed out of the capture",
        path="capture/regular.py",
        old="os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK",
        new="os.O_RDONLY | os.O_NONBLOCK",
        tests=("capture/test_journal.py::test_what_is_no_regular_file_is_not_opened",),
    ),
    # -- giving space back --------------------------------------------------------------------------------------
    Defect(
        name="files are removed before that is written down",
        path="capture/prune.py",
        old="            write_pruned(layout, replace(record",
        new="            gone = [(0, path) for path in layout.parquets(_TABLE)[: told.segments]]\n"
        "            _remove(layout, gone, progress, 0, disk)\n"
        "            write_pruned(layout, replace(record",
        tests=("capture/test_prune.py::test_a_crash_at_any_call_leaves_a_file_or_its_record",),
    ),
    Defect(
        name="a segment goes although its journal is there",
        path="capture/prune.py",
        old="        if place.segment.number in unretired:\n",
        new="        if place.segment.number in unretired and not place.parquet:\n",
        tests=("capture/test_prune.py::test_a_journal_or_an_index_ends_the_run",),
    ),
    Defect(
        name="files go under those who read them",
        path="capture/scan.py",
        old="        return self._held is not None\n",
        new="        self._held = None\n        return True\n",
        tests=("capture/test_prune.py::test_a_prune_at_every_step_of_a_read",),
    ),
    Defect(
        name="what was removed is read before the files are listed",
        path="capture/scan.py",
        old="    journals = layout.journals(table)  # first, and what was pruned last: see the argument above\n"
        "    sealed = layout.sealed(table)\n"
        "    pruned = read_pruned(layout) if table is TableName.TRADES else None\n",
        new="    pruned = read_pruned(layout) if table is TableName.TRADES else None\n"
        "    journals = layout.journals(table)\n    sealed = layout.sealed(table)\n",
        tests=("capture/test_prune.py::test_a_prune_at_every_step_of_a_read",),
    ),
    Defect(
        name="a power loss takes back what was written down of files that have gone",
        path="capture/prune.py",
        old="    disk.fsync_dir(layout.root)  # whoever wrote it down may have been cut off right then\n",
        new="",
        tests=("drill/disk/test_disk_drill.py::test_no_crash_loses_or_doubles_a_row",),
    ),
    Defect(
        name="verify forgets what was removed",
        path="capture/verify.py",
        old="    ledger = IdLedger() if pruned is None else pruned.ledger()\n",
        new="    ledger = IdLedger()\n",
        tests=("capture/test_prune.py",),
    ),
    # -- what people see ----------------------------------------------------------------------------------------
    Defect(
        name="text of the server is markup",
        path="markup.py",
        old="return content if isinstance(content, Markup) else html.escape(content, quote=True)",
        new="return content",
        tests=("test_markup.py",),
    ),
    Defect(
        name="secrets are told",
        path="safetext.py",
        old='    line = redact(" ".join("".join(shown).split()))\n',
        new='    line = " ".join("".join(shown).split())\n',
        tests=("test_safetext.py::test_secrets_go",),
    ),
    Defect(
        name="text of the server turns its neighbours round",
        path="safetext.py",
        old='(" " if unicodedata.category(c)[0] == "C" or',
        new='(" " if unicodedata.category(c) == "Cc" or',
        tests=("test_safetext.py",),
    ),
    Defect(
        name="an outage that is not over looks like one that is",
        path="study/outages.py",
        old="            ended is None,\n            _detector(lost),",
        new="            False,\n            _detector(lost),",
        tests=("study/test_outages.py::test_gave_up_leaves_the_outage_censored",),
    ),
)
