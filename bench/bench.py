"""Speed of this package, beside that of others where they are installed. See README.md."""

from __future__ import annotations

import click

from kernel import kernel


@click.group()
def main() -> None:
    """Measure nibblevec."""


main.add_command(kernel)


if __name__ == "__main__":
    main()
