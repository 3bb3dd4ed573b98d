"""Makes text from strangers safe in a CSV that people open in a spreadsheet."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def escape_formula(text: str) -> str:
    """The text, with a quote in front where a spreadsheet would run it as a formula, as it would some file names."""
    return f"'{text}" if text.startswith(_FORMULA) else text
