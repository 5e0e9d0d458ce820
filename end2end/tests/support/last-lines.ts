// A reporter that repeats each failure in a few lines at the very end, where it is easy to find. Names of tests that
// passed only on a retry also go to the file HOLDFAST_FLAKY, for the last line of `make test`.
import fs from 'node:fs';
import type { FullResult, Reporter, TestCase } from '@playwright/test/reporter';

const coloured = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

/** Longest error, in characters. */
const LONGEST = 600;

export default class LastLines implements Reporter {
  private readonly tests = new Set<TestCase>();

  onTestEnd(test: TestCase): void {
    if (test.outcome() !== 'expected' && test.outcome() !== 'skipped') this.tests.add(test);
  }

  onEnd(_result: FullResult): void {
    const { HOLDFAST_FLAKY: flaky } = process.env;
    for (const test of this.tests) {
      const title = test.titlePath().filter(Boolean).join(' › ');
      if (flaky && test.outcome() === 'flaky') fs.appendFileSync(flaky, `"${title}"\n`);
      const errors = test.results.flatMap(({ errors }) => errors.map(({ message }) => message ?? 'no message'));
      console.log(`\n${test.outcome()}: ${title}`);
      for (const error of errors) console.log(error.replaceAll(coloured, '').slice(0, LONGEST));
    }
  }

  printsToStdio(): boolean {
    return false;
  }
}
