"""`python -m keras_hub_layers` is the command line."""

import sys

from keras_hub_layers._src.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
