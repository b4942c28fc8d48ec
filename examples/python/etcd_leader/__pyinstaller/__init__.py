"""PyInstaller asks this package where its hooks are. The wheel's entry points name it; nothing else uses it."""

import os
from typing import List


def get_hook_dirs() -> List[str]:
    return [os.path.dirname(__file__)]
