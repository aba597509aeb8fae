"""`batchchat controller`: plan, dispatch and end the batches of a cluster."""


def controller() -> int:
    """Plan batches, have workers run them, and end them, until told to stop.

    BATCHCHAT_BROKER=redis://localhost:6379/0 batchchat controller
    """
    from batchchat.cli.backends.session import open_session
    from batchchat.cli.commands.daemon import broker_of, log_to_stderr
    from batchchat.workers.control.main import run_controller

    log_to_stderr()
    session = open_session()
    broker = broker_of(session.settings)
    storage = session.ledger.storage
    return run_controller(storage, session.settings, broker, session.renderers)
