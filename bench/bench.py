"""Speed of this package, beside that of others where they are installed. See README.md."""

from __future__ import annotations

import click

from alone import length, threads
from encode import encode, latency, startup
from kernel import kernel
from packing import quantize


@click.group()
def main() -> None:
    """Measure nibblevec."""


for command in (kernel, quantize, encode, startup, latency, threads, length):
    main.add_command(command)


if __name__ == "__main__":
    main()
