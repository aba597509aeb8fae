"""`batchchat resume`: continue a batch that was stopped."""

from typing import Annotated

import typer

from batchchat.cli.terminal import options, streams

_Extend = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        parser=options.parse_completion_window,
        help="Let the batch expire only after this time, such as 24h, or none.",
    ),
]


def resume(
    batch_id: options.BatchId,
    extend: _Extend = None,
    engine: options.EngineArguments = None,
    engines: options.Engines = None,
    gpus: options.Gpus = None,
    progress: options.Progress = True,
    json: options.Json = False,
) -> int:
    """Resume a stopped batch; finished requests are not rerun.

    Works after Ctrl-C, a crash and a restart of the machine.

    batchchat resume batch_0199…
    """
    from batchchat.cli.backends.engine_options import engine_options
    from batchchat.cli.backends.resolve import open_batch
    from batchchat.cli.backends.run import RunOptions, run_batch

    backend, batch_id = open_batch(batch_id)
    backend.use_engine(engine_options(engine, engines, gpus))
    if extend is not None:
        backend.extend(batch_id, extend)
    if backend.get(batch_id).batch.is_terminal:
        streams.info(f"`{batch_id}` has already ended")
    else:
        backend.enqueue(batch_id)
    run_options = RunOptions(show_progress=progress, print_json=json)
    return run_batch(backend, batch_id, run_options)
