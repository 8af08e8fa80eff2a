"""A run's report, for a person who must answer for the data: Markdown, and one HTML file that needs nothing else."""

from async_extractor.report.company import EntityEnd, compose_company
from async_extractor.report.compose import compose
from async_extractor.report.figures import RunFigures, gather
from async_extractor.report.files import keep_report, reports_folder, write_pages, write_report
from async_extractor.report.index import compose_index, gather_runs
from async_extractor.report.render import as_html, as_markdown

__all__ = [
    "EntityEnd",
    "RunFigures",
    "as_html",
    "as_markdown",
    "compose",
    "compose_company",
    "compose_index",
    "gather",
    "gather_runs",
    "keep_report",
    "reports_folder",
    "write_pages",
    "write_report",
]
