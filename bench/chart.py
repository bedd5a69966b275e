"""A bar chart as SVG, without a drawing library: groups of horizontal bars, each labelled with its figure."""

from collections.abc import Sequence
from html import escape

import msgspec

WIDTH = 860
LABEL = 190
ROOM = WIDTH - LABEL - 90
BAR = 15
GAP = 16
HEAD = 62


class Bar(msgspec.Struct, frozen=True):
    value: float
    """0..1 of the chart's width."""
    text: str
    colour: str


class Group(msgspec.Struct, frozen=True):
    label: str
    bars: Sequence[Bar]


def draw(title: str, legend: Sequence[tuple[str, str]], groups: Sequence[Group]) -> str:
    """`legend` pairs a colour with what it stands for. White background, so that it reads on dark pages too."""
    height = HEAD + sum(len(group.bars) * BAR + GAP for group in groups) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="16" y="24" font-size="15" font-weight="600" fill="#1f2328">{escape(title)}</text>',
    ]
    x = 16
    for colour, text in legend:
        lines.append(f'<rect x="{x}" y="36" width="11" height="11" fill="{colour}"/>')
        lines.append(f'<text x="{x + 16}" y="46" fill="#1f2328">{escape(text)}</text>')
        x += 34 + 7 * len(text)
    y = HEAD
    for group in groups:
        middle = y + len(group.bars) * BAR / 2 + 4
        lines.append(
            f'<text x="{LABEL - 12}" y="{middle:.0f}" text-anchor="end" fill="#1f2328">{escape(group.label)}</text>'
        )
        for bar in group.bars:
            width = max(1.5, bar.value * ROOM)
            lines.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR - 3}" fill="{bar.colour}"/>')
            lines.append(
                f'<text x="{LABEL + width + 5:.1f}" y="{y + BAR - 5}" font-size="11" fill="#57606a">'
                f"{escape(bar.text)}</text>"
            )
            y += BAR
        y += GAP
    return "\n".join([*lines, "</svg>", ""])
