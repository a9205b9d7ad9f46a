"""Run the command line: ``python -m provcrt_kernel.cli``."""

from provcrt_kernel.cli import main

main()
