"""`python -m pipeline.cli`: the `trimodal` command without its installed script."""

from pipeline.cli.app import main

main()
