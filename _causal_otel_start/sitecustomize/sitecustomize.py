"""What Python imports at its start where ``causal-otel run`` has put this folder in front of ``PYTHONPATH``.

It also reaches Pythons of other environments and versions, since programs inherit the variable: no syntax here is newer
than Python 3.6, and where causal_otel is not installed nothing is done.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

_here = os.path.dirname(__file__)
_behind = sys.path[sys.path.index(_here) + 1 :] if _here in sys.path else []
_shadowed = PathFinder.find_spec("sitecustomize", _behind)
try:
    if _shadowed is not None and _shadowed.loader is not None:
        # The one that would have been imported without us. What it raises, Python tells as it always does.
        sys.modules["sitecustomize"] = module_from_spec(_shadowed)
        _shadowed.loader.exec_module(sys.modules["sitecustomize"])
finally:
    try:
        from _causal_otel_start import start
    except ImportError as error:
        # Nobody is told of programs below the command, whose standard error others may read.
        if os.environ.get("CAUSAL_OTEL_RUN_PID") == str(os.getpid()) and sys.stderr is not None:
            sys.stderr.write(f"causal_otel: nothing is traced: {sys.executable} has no causal_otel ({error})\n")
    else:
        start()
