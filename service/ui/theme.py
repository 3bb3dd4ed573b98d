"""Theme of the page: Gradio's own with the fonts of the visitor's machine, and page.css."""

from pathlib import Path

import gradio as gr

STYLE = Path(__file__).with_name("page.css")

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
CODE_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "monospace"]


def theme() -> gr.themes.Base:
    """Gradio's soft theme with readable contrasts."""
    made: gr.themes.Base = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        # Lists, as a name alone would be fetched from Google.
        font=FONTS,
        font_mono=CODE_FONTS,
    )
    # Text has a contrast of 4.5:1 or more to what lies behind it (WCAG AA), which the browser tests check.
    made.set(
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*primary_700",
        block_title_text_color="*primary_700",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_secondary_background_fill_dark="*neutral_700",
        button_secondary_background_fill_hover_dark="*neutral_600",
        color_accent="*primary_600",
        link_text_color_dark="*primary_300",
        link_text_color_visited_dark="*primary_300",
        link_text_color_hover_dark="*primary_200",
    )
    return made
