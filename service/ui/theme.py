"""How the page looks: Gradio's own theme with the fonts of the visitor's machine, and what its parts do not have."""

from pathlib import Path

import gradio as gr

STYLE = Path(__file__).with_name("page.css")

FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
CODE_FONTS = ["ui-monospace", "SFMono-Regular", "Menlo", "monospace"]


def theme() -> gr.themes.Base:
    made: gr.themes.Base = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        # Lists, as a name alone would be fetched from Google.
        font=FONTS,
        font_mono=CODE_FONTS,
    )
    return made
