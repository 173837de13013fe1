import { describe, expect, it } from 'vitest'
import { readVitestReport } from './result.ts'

type File = { status: string; tests: string[] }

function report(...files: File[]): string {
  const all = files.flatMap(file => file.tests)
  const count = (status: string) => all.filter(test => test === status).length
  return JSON.stringify({
    numPassedTests: count('passed'),
    numFailedTests: count('failed'),
    numPendingTests: count('skipped'),
    numTodoTests: count('todo'),
    success: true,
    testResults: files.map((file, index) => ({
      name: `file${index}`,
      status: file.status,
      assertionResults: file.tests.map(status => ({ status })),
    })),
  })
}

describe('readVitestReport', () => {
  it.each([
    {
      name: 'all pass',
      text: report({ status: 'passed', tests: ['passed', 'passed', 'skipped', 'todo'] }),
      code: 0,
      expected: { passed: 2, failed: 0, skipped: 2, problem: null },
    },
    {
      name: 'a test fails',
      text: report({ status: 'failed', tests: ['passed', 'failed'] }),
      code: 1,
      expected: { passed: 1, failed: 1, skipped: 0, problem: null },
    },
    {
      name: 'a file cannot be imported beside one that passes',
      text: report({ status: 'passed', tests: ['passed'] }, { status: 'failed', tests: [] }),
      code: 1,
      expected: { passed: 1, failed: 1, skipped: 0, problem: 'file1 could not run' },
    },
    {
      name: 'an after-all hook fails though its tests passed',
      text: report({ status: 'failed', tests: ['passed'] }),
      code: 1,
      expected: { passed: 1, failed: 1, skipped: 0, problem: 'file0 could not run' },
    },
    {
      name: 'an error outside any test',
      text: report({ status: 'passed', tests: ['passed'] }),
      code: 1,
      expected: { passed: 1, failed: 1, skipped: 0, problem: 'vitest ended with 1' },
    },
    {
      name: 'everything is skipped',
      text: report({ status: 'passed', tests: ['skipped'] }),
      code: 0,
      expected: { passed: 0, failed: 1, skipped: 0, problem: 'vitest ran no test' },
    },
    {
      name: 'no report, by a signal',
      text: null,
      code: null,
      expected: { passed: 0, failed: 1, skipped: 0, problem: 'vitest ended with a signal and without a report' },
    },
  ])('$name', ({ text, code, expected }) => {
    expect(readVitestReport(text, code)).toEqual(expected)
  })
})
