/** What a step or a tier came to, and vitest's JSON report read into it. */

export type Counts = { readonly passed: number; readonly failed: number; readonly skipped: number }

/** `problem`: why it could not run, or did not end well for another reason than a failed test; one line. */
export type StepResult = Counts & { readonly problem: string | null }

export const NONE: Counts = { passed: 0, failed: 0, skipped: 0 }

export function addCounts(a: Counts, b: Counts): Counts {
  return { passed: a.passed + b.passed, failed: a.failed + b.failed, skipped: a.skipped + b.skipped }
}

/** A step that did not run counts as one failure, so that the sum can never look clean. */
export function couldNotRun(why: string): StepResult {
  return { ...NONE, failed: 1, problem: why.split('\n')[0] ?? why }
}

type VitestReport = {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly success: boolean
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly assertionResults: readonly { readonly status: string }[]
  }[]
}

/**
 * @param text vitest's JSON report, null when it wrote none
 * @param exitCode vitest's own, null when a signal ended it
 */
export function readVitestReport(text: string | null, exitCode: number | null): StepResult {
  if (text === null) return couldNotRun(`vitest ended with ${exitCode ?? 'a signal'} and without a report`)
  const report = JSON.parse(text) as VitestReport
  // A file that cannot be imported, or whose hook fails, has no failed test of its own.
  const broken = report.testResults.filter(
    file => file.status === 'failed' && !file.assertionResults.some(test => test.status === 'failed'),
  )
  const counts: Counts = {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  }
  if (counts.passed + counts.failed === 0) return couldNotRun('vitest ran no test')
  // Unhandled errors and leaks outside any test.
  if (counts.failed === 0 && exitCode !== 0)
    return { ...counts, failed: 1, problem: `vitest ended with ${exitCode ?? 'a signal'}` }
  return { ...counts, problem: broken.length > 0 ? `${broken.map(file => file.name).join(', ')} could not run` : null }
}
