"""How the page looks: Gradio's own theme with the fonts of the visitor's machine, and what its parts do not have."""

import gradio as gr

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


CSS = """
.gradio-container { max-width: 1100px !important; margin: 0 auto !important; }
.answer { padding: 1.25rem; border-radius: 12px; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); }
.answer p { margin: 0; }
.answer .before, .answer .facts { color: var(--body-text-color-subdued); }
.answer .genre { font-size: clamp(2.2rem, 8vw, 4rem); line-height: 1.1; margin: .2rem 0 .4rem; font-weight: 800;
  overflow-wrap: anywhere; }
.answer.uncertain .genre { font-size: clamp(1.6rem, 6vw, 2.6rem); }
.answer .genre small { font-size: .5em; font-weight: 400; }
.answer .sure { font-size: 1.15rem; }
.answer .facts { margin-top: .6rem; font-size: .9rem; overflow-wrap: anywhere; }
.notice { margin: 0; padding: .8rem 1rem; border-radius: 8px; border-left: 4px solid var(--color-accent);
  background: var(--background-fill-secondary); }
.notice.alert { border-left-color: #d9534f; }
.timeline h3 { margin: .2rem 0 .6rem; }
.timeline .plot { position: relative; height: 140px; }
.timeline .plot img { width: 100%; height: 100%; display: block; border-radius: 8px;
  background: var(--background-fill-secondary); }
.timeline input[type=range] { appearance: none; position: absolute; inset: 0; width: 100%; height: 100%; margin: 0;
  background: transparent; cursor: pointer; }
.timeline input[type=range]::-webkit-slider-thumb { appearance: none; width: 3px; height: 140px; border: 0;
  border-radius: 0; background: var(--body-text-color); }
.timeline input[type=range]::-moz-range-thumb { width: 3px; height: 140px; border: 0; border-radius: 0;
  background: var(--body-text-color); }
.timeline input[type=range]::-webkit-slider-runnable-track { height: 140px; }
.timeline :focus-visible, .download:focus-visible { outline: 3px solid var(--color-accent); outline-offset: 2px; }
.timeline .ticks { display: flex; justify-content: space-between; font-size: .8rem;
  color: var(--body-text-color-subdued); }
.timeline ul, .timeline ol { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem .8rem; margin: .6rem 0 0;
  padding: 0; }
.timeline .swatch { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 3px; }
.timeline button { min-height: 32px; padding: .2rem .6rem; border: 1px solid; border-left-width: 6px; border-radius: 6px;
  background: var(--background-fill-primary); color: var(--body-text-color); cursor: pointer; }
.inside { margin: 0; }
.inside img { width: 100%; height: auto; border-radius: 8px; }
.download { display: inline-block; margin-right: .6rem; padding: .5rem 1rem; border-radius: 8px; min-height: 24px;
  border: 1px solid var(--border-color-primary); color: var(--body-text-color); }
"""
