// Says at the very end what failed and why, a few lines each: the whole of it may be far up, or cut off.
import type { FullResult, Reporter, TestCase } from '@playwright/test/reporter';

const coloured = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, 'g');

/** Longer than this, an error is cut. */
const LONGEST = 600;

export default class LastLines implements Reporter {
  private readonly tests = new Set<TestCase>();

  onTestEnd(test: TestCase): void {
    if (test.outcome() !== 'expected' && test.outcome() !== 'skipped') this.tests.add(test);
  }

  onEnd(_result: FullResult): void {
    for (const test of this.tests) {
      const errors = test.results.flatMap(({ errors }) => errors.map(({ message }) => message ?? 'no message'));
      console.log(`\n${test.outcome()}: ${test.titlePath().filter(Boolean).join(' › ')}`);
      for (const error of errors) console.log(error.replaceAll(coloured, '').slice(0, LONGEST));
    }
  }

  printsToStdio(): boolean {
    return false;
  }
}
