import { expect, it } from 'vitest'
import { kernelProblem } from './capabilities.ts'

it.each(['6.12.0', '6.12.117+deb12-amd64', '6.18.44', '7.0.0-rc1'])('runs on %s', kernel => {
  expect(kernelProblem(kernel)).toBeUndefined()
})

it.each(['6.1.0-42-amd64', '6.11.9', '5.15.0', '4.19.0', 'unknown'])('refuses %s and says what to do', kernel => {
  expect(kernelProblem(kernel)).toMatch(/^kernel .* is too old: install 6\.12 or newer/)
})
