"""The HTTP API for programs: spends, holds, refunds, brands and campaigns, with tokens. `api.app.create_api(system)` makes the
application, and `api.serve.run_api(settings)` runs it.
"""
