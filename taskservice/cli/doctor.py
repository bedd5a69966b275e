"""`litestar doctor`: whether everything is in order here, and if not, what to do about it."""

import asyncio
import sys

import rich_click as click

from taskservice.cli.examination import examine


@click.command()
@click.option("--token", "given", metavar="TOKEN", help="Say in plain words why this token would be refused.")
def doctor(given: str | None) -> None:
    """Check settings, database, migrations and keys, and say what is wrong and what to do about it."""
    findings = asyncio.run(examine(given))
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = click.style("✓", fg="green") if finding.good else click.style("✗", fg="red")
        click.echo(f"{mark} {finding.what:<{width}}  {finding.found}")
        if finding.remedy:
            click.echo(f"  {'':<{width}}  → {finding.remedy}")
    if not all(finding.good for finding in findings):
        sys.exit(1)
