.PHONY: run test check torture bench e2e setup site

# Build and serve on http://127.0.0.1:3000.
run:
	@scripts/run

# Everything: unit, integration and end-to-end tests.
test:
	@scripts/test

# Formatting and lints of both halves, types of the end-to-end tests.
check:
	@scripts/check

# The promises under faults, with the full numbers; fails, too, where the last test run had flaky tests.
torture:
	@scripts/torture

# The races against other tools.
bench:
	@scripts/bench

# The end-to-end tests alone.
e2e:
	@scripts/e2e

# Install what running and testing need, where it is missing.
setup:
	@scripts/setup test

# The browser's half of the program, into target/site.
site:
	@scripts/site
