"""`python -m batchchat` is the `batchchat` command."""

from batchchat.cli.main import main

main()
