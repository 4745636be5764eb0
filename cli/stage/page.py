"""The HTML report of a demonstration: one file, nothing fetched, the price curve as SVG with each model on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from goldengrain.chaincode.protocol.task import PriceSchedule

_WIDTH, _HEIGHT, _MARGIN = 680, 320, 56
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.5rem;margin-bottom:0}.note{color:#555}.simulated{background:#fff3cd;border:1px solid #e0c36a;
padding:.5rem .8rem;border-radius:.3rem}table{border-collapse:collapse;width:100%;margin:1rem 0}
td,th{padding:.35rem .6rem;border-bottom:1px solid #ddd;text-align:left;overflow-wrap:anywhere}
svg{width:100%;height:auto}
svg text{font:12px system-ui,sans-serif;fill:#444}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}.note{color:#aaa}td,th{border-color:#333}
.simulated{background:#3b3212;border-color:#7a682a}svg text{fill:#bbb}}
"""


def page(result: Mapping[str, Any], schedule: PriceSchedule) -> str:
    """Render the report.

    ``result`` is what ``goldengrain demo --json`` prints; ``schedule`` is the task's.
    """
    offers = result["offers"]
    label = (
        f"<p class=simulated>Attestation is <b>{escape(result['attestation'])}</b>: the quotes prove nothing about "
        "hardware. The network is a test network.</p>"
    )
    balance_rows = [(name, f"{amount:,}") for name, amount in result["balances"].items()]
    supply = result["supply"]
    sums = f"minted {supply['minted']:,}, held {supply['held']:,}"
    return "\n".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
            f"<title>Golden Grain: {escape(result['dataset'])}</title><style>{_STYLE}</style>",
            "<h1>Golden Grain</h1>",
            f"<p class=note>{escape(_facts(result))}</p>",
            label,
            "<h2>Score and price</h2>",
            curve(schedule, offers),
            _table(
                ("developer", "state", "score", "price", "measured by the buyer"), [_offer_row(one) for one in offers]
            ),
            "<h2>Balances</h2>",
            _table(("account", "credits"), balance_rows),
            f"<p>{escape(sums)}: nothing was made or lost.</p>",
            "<h2>Transactions</h2>",
            _table(
                ("block", "command", "code", "id"),
                [(one["block"], one["command"], one["code"], one["id"]) for one in result["transactions"]],
            ),
            "</html>",
        ]
    )


def curve(schedule: PriceSchedule, offers: Sequence[Mapping[str, Any]]) -> str:
    """Draw the price schedule as SVG, with a dot where each sold model landed."""
    low = max(0, schedule.points[0].score - 50_000)
    top = max(schedule.top_price, 1)

    def x(score: int) -> float:
        return _MARGIN + (score - low) / max(1, 1_000_000 - low) * (_WIDTH - 2 * _MARGIN)

    def y(price: int) -> float:
        return _HEIGHT - _MARGIN - price / top * (_HEIGHT - 2 * _MARGIN)

    first = schedule.points[0]
    path = [(low, 0), (first.score, 0), *schedule.pairs, (1_000_000, schedule.top_price)]
    line = " ".join(f"{x(score):.1f},{y(price):.1f}" for score, price in path)
    parts = [
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img aria-label='price by score'>",
        f"<polyline points='{line}' fill=none stroke='#b8860b' stroke-width=2.5 />",
        f"<line x1={_MARGIN} y1={y(0)} x2={_WIDTH - _MARGIN} y2={y(0)} stroke='#999' />",
        f"<text x={_MARGIN} y={_HEIGHT - 12}>score {low / 10_000:.0f} %</text>",
        f"<text x={_WIDTH - _MARGIN} y={_HEIGHT - 12} text-anchor=end>100 %</text>",
        f"<text x={_MARGIN - 8} y={y(top) + 4:.1f} text-anchor=end>{top:,}</text>",
        f"<text x={_MARGIN - 8} y={y(0) + 4:.1f} text-anchor=end>0</text>",
    ]
    for offer in offers:
        if offer["score_ppm"] is None:
            continue
        cx, cy = x(offer["score_ppm"]), y(offer["price"] or 0)
        name = escape(offer["developer"].partition("@")[0] + " " + offer["developer"].partition("@")[2].split(".")[0])
        parts.append(f"<circle cx={cx:.1f} cy={cy:.1f} r=6 fill='#2b6cb0' />")
        parts.append(
            f"<text x={cx - 10:.1f} y={cy - 10:.1f} text-anchor=end>{name}: {offer['score_ppm'] / 10_000:.2f} %, "
            f"{offer['price']:,}</text>"
        )
    return "\n".join([*parts, "</svg>"])


def _facts(result: Mapping[str, Any]) -> str:
    return (
        f"dataset {result['dataset']} ({result['scoring']}), "
        f"runtime {result['runtime']}, {len(result['organizations'])} organisations, "
        f"{len(result['transactions'])} transactions, {result['timings_s']['total']:.1f} s"
    )


def _offer_row(offer: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        offer["developer"],
        offer["state"],
        _percent(offer["score_ppm"]),
        "-" if offer["price"] is None else f"{offer['price']:,}",
        _percent(offer["bought_model_score_ppm"]),
    )


def _percent(ppm: int | None) -> str:
    return "-" if ppm is None else f"{ppm / 10_000:.2f} %"


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(column)}" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}" for cell in row) for row in rows)
    return f"<table><tr>{head}{body}</table>"
