"""`python -m hpcdl` is `hpcdl`."""

from hpcdl.cli import main

main()
