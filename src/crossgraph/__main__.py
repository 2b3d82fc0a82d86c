"""`python -m crossgraph` is `crossgraph`."""

from __future__ import annotations

import sys

from crossgraph.cli.main import main

sys.exit(main())
