"""Views of the page: pure functions from answers to HTML, without Gradio."""
