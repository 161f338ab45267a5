"""The command line."""

from __future__ import annotations

import click

from nibblevec._cli import convert, encode, evaluate, info, verify
from nibblevec._cli.common import CommandGroup


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nibblevec", prog_name="nibblevec")
def main() -> None:
    """Static text embeddings straight from a 4-bit table."""


main.add_command(convert.convert)
main.add_command(encode.encode)
main.add_command(evaluate.evaluate)
main.add_command(info.info)
main.add_command(verify.verify)
