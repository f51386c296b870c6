"""`python -m frmdn`: the command line."""

import sys

from frmdn.pipeline.commands.main import main

sys.exit(main())
