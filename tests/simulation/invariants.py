"""Invariants that must hold at the end of every run."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

from batchchat.jobs.catalog.usage import Usage
from batchchat.jobs.engine.protocol import EngineRequest
from batchchat.jobs.engine.sampling import derived_seed, sampling_for
from batchchat.jobs.errors import BatchchatError, ObjectMissingError
from batchchat.jobs.ids import request_id
from batchchat.jobs.ledger import records
from batchchat.jobs.ledger.active_index import ActiveIndex
from batchchat.jobs.ledger.checkpoint import unpack
from batchchat.jobs.ledger.ledger import Ledger
from batchchat.jobs.ledger.records import Commit, Outcome
from batchchat.jobs.ledger.request_lines import request_lines_key
from batchchat.jobs.ledger.state import State
from batchchat.jobs.requests.line_reader import iter_lines
from batchchat.jobs.requests.parser import InvalidLine, Parser
from batchchat.jobs.requests.schema import Request
from batchchat.jobs.results.joined_rows import JoinedRows
from batchchat.workers.engine.echo_core import echo
from tests.simulation.cluster import MODEL, RENDERER, Cluster
from tests.simulation.engines import DEADLY
from tests.simulation.virtual_time import EPOCH

_NEVER_RUN = {"cancelled": "batch_cancelled", "expired": "batch_expired"}


def problems(cluster: Cluster) -> Iterator[str]:
    """Yield violated invariants."""
    for entry in ActiveIndex(cluster.bucket):
        yield f"still in the index: {entry}"
    for project in cluster.projects:
        ledger = Ledger(cluster.bucket, project, lambda: EPOCH + cluster.world.now)
        for batch in ledger.batches():
            state = ledger.state(batch.id)
            plan = ledger.keys.batch(batch.id).plan
            lost = state.plan is None and state.final and state.final.counts.total
            if lost or plan in state.corrupt:  # after the batch had ended
                cluster.bucket.restore(plan)
                state = ledger.state(batch.id)
            for problem in _Batch(cluster, ledger, state).problems():
                yield f"{batch.id} ({state.status}): {problem}"


class _Batch:
    """One batch that has ended."""

    def __init__(self, cluster: Cluster, ledger: Ledger, state: State) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._state = state
        self._keys = ledger.keys.batch(state.batch.id)
        key = request_lines_key(ledger.keys, state.batch)
        try:
            data = cluster.bucket.get(key)
        except ObjectMissingError:  # of rows, and it ended before it was planned
            data = b""
        self._input = list(iter_lines([data], 1 << 20))
        parser = Parser("echo")
        self._parsed = {
            line.number: parser.parse(line.raw or b"", line.number)
            for line in self._input
        }

    def problems(self) -> Iterator[str]:
        state = self._state
        if not state.is_terminal:
            yield "has not ended"
        elif state.final is None:
            bad = any(isinstance(line, InvalidLine) for line in self._parsed.values())
            ids = [line.custom_id for line in self._parsed.values()]
            if not bad and len(set(ids)) == len(ids):
                yield "was refused for nothing"
        else:
            try:
                yield from self._of_results(state.final)
            except BatchchatError as error:
                yield f"can't be read: {error.message}"

    def _of_results(self, final: Outcome) -> Iterator[str]:
        if final.status == "completed" and final.counts.total != len(self._input):
            yield "does not count what was asked"
        if final.status == "cancelled" and not self._state.cancelled_at:
            yield "no user cancelled it"
        if final.status == "expired" and self._state.batch.completion_window == "24h":
            yield "it had not expired"
        rows = list(JoinedRows(self._ledger, self._state))
        if final.counts.total and len(rows) != len(self._input):
            yield f"{len(rows)} results for {len(self._input)} lines"
        lines = [json.loads(row.result) for row in rows]
        done = [line for row, line in zip(rows, lines, strict=True) if row.completed]
        failed = [
            line for row, line in zip(rows, lines, strict=True) if not row.completed
        ]
        for row, line in zip(rows, lines, strict=True):
            yield from self._of_row(row.line.number, line, completed=row.completed)
        never = sum(line["error"] is not None for line in failed)
        if final.counts.done() != (len(done), len(failed) - never):
            yield f"counts {final.counts} for {len(done)} and {len(failed)}"
        yield from self._of_usage(final, done)
        yield from self._of_files(final)
        if final.counts.total:
            yield from self._of_pins(final, {r.line.number: r.result for r in rows})
            finished = {
                r.line.number
                for r, x in zip(rows, lines, strict=True)
                if not x["error"]
            }
            lost = self._checkpointed() - finished
            if lost:
                yield f"lines {sorted(lost)} were checkpointed, and are lost"
        elif self._checkpointed():
            yield "it ended as if nothing had been planned, and something had run"

    def _of_row(
        self, number: int, line: dict[str, Any], *, completed: bool
    ) -> Iterator[str]:
        parsed = self._parsed[number]
        if line["id"] != request_id(self._state.batch.id, number):
            yield f"line {number} has another's id"
        if line["custom_id"] != parsed.custom_id:
            yield f"line {number} has another's custom_id"
        if completed:
            body = line["response"]["body"]
            said = body["choices"][0]["message"]["content"], body["seed"]
            if not isinstance(parsed, Request) or said != expected(parsed):
                yield f"line {number} says {said}"
        elif (code := _code(line)) not in self._reasons(number, parsed):
            yield f"line {number} is an error: {code}"

    def _reasons(self, number: int, parsed: Request | InvalidLine) -> set[str]:
        """Return the codes that a line may fail with."""
        status = self._state.status
        reasons = {_NEVER_RUN[status]} if status in _NEVER_RUN else set()
        if parsed.custom_id == "q-0" and number > 1:
            return {*reasons, "duplicate_custom_id"}
        if isinstance(parsed, InvalidLine):
            return {*reasons, *(problem.code for problem in parsed.problems)}
        deaths = self._cluster.deaths_alone[self._state.batch.id, number]
        if DEADLY in parsed.body.messages[-1].text() or len(deaths) > 1:
            reasons.add("engine_error")
        return reasons

    def _of_usage(self, final: Outcome, done: list[dict[str, Any]]) -> Iterator[str]:
        bodies = [line["response"]["body"] for line in done]
        used = [body["usage"] for body in bodies if "reused_from" not in body]
        if len(done) - len(used) != final.reused:
            yield f"reused {len(done) - len(used)}, and {final.reused} is said"
        mine = Usage(
            sum(one["prompt_tokens"] for one in used),
            sum(one["prompt_tokens_details"]["cached_tokens"] for one in used),
            sum(one["completion_tokens"] for one in used),
        )
        if mine != final.usage:
            yield f"used {mine}, and {final.usage} is said"

    def _of_files(self, final: Outcome) -> Iterator[str]:
        for file_id, size in (
            (final.output_file_id, final.output_bytes),
            (final.error_file_id, final.error_bytes),
        ):
            if file_id is None:
                continue
            yield from self._of_record(file_id, size)
            if self._cluster.bucket.size(self._ledger.keys.content(file_id)) != size:
                yield "a file has another size than was written"

    def _of_record(self, file_id: str, size: int) -> Iterator[str]:
        """See that a file is visible.

        Where creates aren't atomic, the record of a finalizer that died may replace
        one that was seen already, after the index was done with the batch. Its
        files are there, and `resume` makes them visible.
        """
        finals = {data for _, data in self._cluster.bucket.history[self._keys.final]}
        if self._cluster.bucket.has(self._ledger.keys.file(file_id)):
            if self._ledger.file(file_id).bytes != size:
                yield "a file's record has another size"
        elif self._cluster.bucket.atomic or len(finals) == 1:
            yield "a file of results is not visible"

    def _of_pins(self, final: Outcome, rows: dict[int, bytes]) -> Iterator[str]:
        """See that each row is the pinned attempt's, of all that ever committed.

        A batch of invalid lines only has no attempts.
        """
        plan = self._state.require_plan()
        if not plan.has_valid_lines:
            return
        shards = plan.shards
        if len(final.attempts) != len(shards):
            yield "it does not pin one attempt a shard"
            return
        for shard, attempt in zip(shards, final.attempts, strict=True):
            written = self._cluster.bucket.history[self._keys.commit(shard.index)]
            commits = [records.decode(Commit, data, "") for _, data in written]
            mine = [commit for commit in commits if commit.attempt == attempt]
            if not mine:
                yield f"shard {shard.index} is pinned to an attempt without a commit"
                continue
            results = self._committed(mine[0])
            for number in range(shard.first_line, shard.first_line + shard.lines):
                never = json.loads(rows[number])["error"] is not None
                if results.get(number) != (None if never else rows[number]):
                    yield f"line {number} is not the pinned attempt's"

    def _committed(self, commit: Commit) -> dict[int, bytes]:
        """Return what a commit names; of two results for a line the first counts."""
        return {
            result.line: result.text
            for part in reversed(commit.parts)
            for result in reversed(unpack(self._cluster.bucket.get(part.key), part.key))
        }

    def _checkpointed(self) -> set[int]:
        """Return the lines that were checkpointed before the end was requested."""
        batch, bucket = self._state.batch, self._cluster.bucket
        assert batch.expires_at is not None
        end = batch.expires_at - EPOCH
        if wish := bucket.history[self._keys.cancel]:
            end = min(end, wish[0][0])
        return {
            result.line
            for key in bucket.keys(f"{self._keys.top}/shards/")
            if "/attempts/" not in key and bucket.history[key][0][0] < end
            for result in unpack(bucket.get(key), key)
        }


def _code(line: dict[str, Any]) -> str:
    if line["error"] is not None:
        return str(line["error"]["code"])
    return str(line["response"]["body"]["error"]["code"])


def expected(request: Request) -> tuple[str, int]:
    """Return what an undisturbed run answers, and the seed."""
    content = request.body.messages[-1].text()
    return _expected(request.custom_id or "", content, request.parameter("max_tokens"))


@cache
def _expected(custom_id: str, content: str, max_tokens: int) -> tuple[str, int]:
    raw = {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "messages": [{"role": "user", "content": content}],
            "max_tokens": max_tokens,
        },
    }
    request = Parser("echo").parse(json.dumps(raw).encode(), 1)
    assert isinstance(request, Request)
    prompt = RENDERER.prepare(request)
    seed = derived_seed(1, custom_id)
    sampling = sampling_for(request, MODEL, seed, 512 - len(prompt.token_ids))
    text = echo(EngineRequest("", "", prompt, sampling)).choices[0].text
    return text or "", seed
