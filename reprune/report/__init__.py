"""Pages a person opens: the run's report, every step's evidence, and the verdict as Markdown."""
