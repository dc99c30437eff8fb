"""Draws curves as one SVG: plots side by side, both axes logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from benchmarks.curves import Curve

_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 220, 62, 34
_FRAME: Final = 'fill="none" stroke="#888" stroke-width="1"'


def svg(curves: Sequence[Curve]) -> str:
    """The SVG document."""
    width = len(curves) * (_WIDTH + _LEFT + 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT + 90}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{_HEIGHT + 90}" fill="#fff"/>',
    ]
    top = 10 ** math.ceil(math.log10(max(value for curve in curves for _, value in curve.points)))
    bottom = 10 ** math.floor(math.log10(min(value for curve in curves for _, value in curve.points)))
    for number, curve in enumerate(curves):
        parts += _plot(curve, number * (_WIDTH + _LEFT + 20) + _LEFT, bottom, top)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _plot(curve: Curve, left: int, bottom: float, top: float) -> list[str]:
    sizes = [size for size, _ in curve.points]
    span = math.log(sizes[-1] / sizes[0])

    def x(size: int) -> float:
        return left + _WIDTH * math.log(size / sizes[0]) / span

    def y(value: float) -> float:
        return _TOP + _HEIGHT * (1 - math.log(value / bottom) / math.log(top / bottom))

    out = [
        f'<text x="{left}" y="{_TOP - 12}" font-weight="bold">spends a second by {curve.what}</text>',
        f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" {_FRAME}/>',
    ]
    mark = bottom
    while mark <= top:
        out.append(f'<line x1="{left}" x2="{left + _WIDTH}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:,.0f}</text>')
        mark *= 10
    points = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in curve.points)
    out.append(f'<polyline points="{points}" fill="none" stroke="#1668b8" stroke-width="2"/>')
    for size, value in curve.points:
        out.append(f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="#1668b8"/>')
        out.append(f'<text x="{x(size):.1f}" y="{y(value) - 8:.1f}" text-anchor="middle">{value:,.0f}</text>')
        out.append(f'<text x="{x(size):.1f}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle">{size:,}</text>')
    return out
