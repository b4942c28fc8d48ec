"""What the tests share. Importing it puts the package on the path, and names the library of this tree."""

import os
import signal
import sys
from pathlib import Path

#: examples/python, and the top of the repository.
PYTHON = Path(__file__).resolve().parents[2]
ROOT = PYTHON.parents[1]
LIBRARY = Path(os.environ.get("ETCD_LEADER_LIBRARY") or ROOT / "target" / "release" / "libetcd_leader.so")

if not LIBRARY.is_file():
    raise SystemExit(f"there is no {LIBRARY}: build it with `make lib`, or set ETCD_LEADER_LIBRARY")
os.environ["ETCD_LEADER_LIBRARY"] = str(LIBRARY)
sys.path.insert(0, str(PYTHON))
# Whoever runs these in the background may ignore Ctrl-C for them, and all that they start would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
