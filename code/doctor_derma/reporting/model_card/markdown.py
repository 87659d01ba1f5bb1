"""Tables as Markdown."""

from doctor_derma.evaluation.tables import Table


def markdown_table(table: Table) -> str:
    """Write a table as GitHub's Markdown: its title in bold, the table, its note."""
    rules = ["---" if column < table.words else "---:" for column in range(len(table.header))]
    rows = [_row(table.header), _row(rules), *(_row(row) for row in table.rows)]
    parts = [f"**{table.title}**" if table.title else "", "\n".join(rows), table.note]
    return "\n\n".join(part for part in parts if part)


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
