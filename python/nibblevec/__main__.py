"""``python -m nibblevec`` is the command line."""

from nibblevec._cli import main

main(prog_name="python -m nibblevec")
