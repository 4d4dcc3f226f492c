"""Write the Grafana dashboards: ``python deploy/grafana/generate.py``.

They come from the table in boards.py by Grafana's own library, so what is committed in ``dashboards/`` is of Grafana's
schema. tests/deploy checks that it is fresh, and tests/interop that each expression returns data on a true Prometheus.
"""

from __future__ import annotations

import json
from pathlib import Path

from boards import DASHBOARDS
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as Stat
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, VisibilityMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh
from panels import Board, Graph

__all__ = ["FOLDER", "generated", "main"]

FOLDER = Path(__file__).parent / "dashboards"

_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")


def _panel(graph: Graph) -> Stat | TimeSeries:
    panel = Stat() if graph.stat else TimeSeries()
    panel = panel.title(graph.title).datasource(_SOURCE).unit(graph.unit).span(graph.width)
    panel = panel.height(4 if graph.stat else 8).description(graph.about)
    if isinstance(panel, TimeSeries):
        legend = VizLegendOptions().display_mode(LegendDisplayMode.TABLE).placement(LegendPlacement.BOTTOM)
        panel = panel.legend(legend.calcs(["mean", "max"])).fill_opacity(10).show_points(VisibilityMode.NEVER).min(0)
    for number, (name, expression) in enumerate(graph.targets.items()):
        query = Dataquery().expr(expression).legend_format(name).ref_id(chr(ord("A") + number))
        panel = panel.with_target(query.instant() if graph.stat else query.range().exemplar(True))
    return panel


def _dashboard(board: Board) -> Dashboard:
    made = Dashboard(board.title).uid(board.uid).tags(["tracing"]).time("now-1h", "now").refresh("30s").readonly()
    made = made.timezone("browser").with_variable(DatasourceVariable("datasource").type("prometheus"))
    for name, query in board.variables.items():
        variable = QueryVariable(name).query(query).datasource(_SOURCE).include_all(True).all_value(".*").multi(True)
        made = made.with_variable(variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED))
    for title, graphs in board.rows.items():
        made = made.with_row(Row(title))
        for graph in graphs:
            made = made.with_panel(_panel(graph))
    return made


def generated() -> dict[str, str]:
    """What belongs into each file of :data:`FOLDER`, by its name."""
    return {
        f"{board.uid}.json": json.dumps(_dashboard(board).build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        for board in DASHBOARDS
    }


def main() -> None:
    """Write the files."""
    for name, text in generated().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
