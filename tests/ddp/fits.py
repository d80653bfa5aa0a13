"""Fit one configuration after the other, in processes that Lightning starts once.

Usage: python fits.py JSON, a list with the arguments of every ``tscl fit``.
"""

import json
import sys

from tscl.cli.main import main

if __name__ == "__main__":
    for words in json.loads(sys.argv[1]):
        if status := main(["fit", *words]):
            sys.exit(status)
