"""Reads the request lines of a batch and computes their digests."""

from collections.abc import Callable, Iterable, Iterator

from batchchat.jobs.catalog.catalog import Model
from batchchat.jobs.ledger.records import Batch, Plan
from batchchat.jobs.prompts.registry import RendererRegistry
from batchchat.jobs.requests.line_reader import RawLine, iter_lines
from batchchat.jobs.requests.parser import InvalidLine, Parser, parse_line
from batchchat.jobs.reuse.request_digest import request_digest

DigestOf = Callable[[RawLine], bytes | None]
"""Returns the digest of the request on a line, None if the line holds none."""


def digest_function(
    batch: Batch, model: Model, max_line_bytes: int, renderers: RendererRegistry
) -> DigestOf:
    """Return the function that computes the digests of a batch's lines.

    Without the model's files, its template counts as one that reads the time. Then
    requests of batches with different times have different digests.
    """
    renderer = renderers.get_if_local(model)
    reads_time = renderer is None or renderer.reads_time
    seed = batch.seed
    parser = Parser(
        model.name,
        model_optional=batch.model is not None,
        names=lambda _: (model.name, *model.aliases),
        time=batch.prompt_time,
    )

    def digest_of(line: RawLine) -> bytes | None:
        request = parse_line(parser, line, max_line_bytes)
        if isinstance(request, InvalidLine):
            return None
        return request_digest(request, seed, reads_time=reads_time)

    return digest_of


def digested_lines(
    batch: Batch, plan: Plan, chunks: Iterable[bytes], renderers: RendererRegistry
) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the digest of each line that holds a valid request.

    `chunks` is the batch's input. Lines that repeat a custom_id are left out.
    """
    digest_of = digest_function(
        batch, plan.require_model(), plan.max_line_bytes, renderers
    )
    repeated = {line for shard in plan.shards for line in shard.duplicate_lines}
    for line in iter_lines(chunks, plan.max_line_bytes):
        if line.raw is None or line.raw.strip():
            digest = digest_of(line)
            if digest is not None and line.number not in repeated:
                yield line.number, digest
