"""What `./peak bench` measures, one module a part.

Each has `SUMMARY`, `measure(options)` for the figures as JSON, `show(result)` for tables in
Markdown, `check(result)` for what is promised of them, and `draw(result, folder)` for plots.
"""
