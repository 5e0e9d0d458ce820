.PHONY: run test check torture bench e2e setup site

# Build and serve on http://127.0.0.1:3000.
run:
	@scripts/run

# Run every test: unit, integration, a part of torture, and the browser.
test:
	@scripts/test

# Check formatting, lints, types and dependencies.
check:
	@scripts/check

# The promises under faults, with the full numbers; fails, too, where the last test run had flaky tests.
torture:
	@scripts/torture

# Measure Holdfast against other tools.
bench:
	@scripts/bench

# Run the browser tests alone.
e2e:
	@scripts/e2e

# Install what running and testing need, if it is missing.
setup:
	@scripts/setup test

# Build the site (WebAssembly, CSS, public files) into target/site.
site:
	@scripts/site
