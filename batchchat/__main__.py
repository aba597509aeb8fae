"""`python -m batchchat` is the `batchchat` command.

The command's own module becomes `__main__`, because processes that vLLM spawns import
that module, which binds their life to this process (`workers/engine/process_guard.py`).
They do not import a module whose name is `__main__`.
"""

import runpy

runpy.run_module("batchchat.cli.main", run_name="__main__", alter_sys=True)
