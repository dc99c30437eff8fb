"""The console in a browser: status, forms, job pages, health. `create_app(system)` makes the application, and
`web.serve.run_web(settings)` runs it.
"""

from web.app import create_app

__all__ = ["create_app"]
