/** The `branchline` command: runs it, and turns what it throws into one line on stderr and an exit code. */
import { CommanderError } from 'commander'
import { CliError, EXIT } from './error.ts'
import { runLab } from './lab.ts'
import { buildProgram } from './program.ts'

/** @returns the exit code; a server or an agent goes on until it is stopped */
async function run(argv: readonly string[]): Promise<number> {
  // The lab has options of its own.
  if (argv[0] === 'lab') return await runLab(argv.slice(1))
  try {
    await buildProgram().parseAsync([...argv], { from: 'user' })
    return EXIT.ok
  } catch (error) {
    // Help that was asked for is no mistake.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
    process.stderr.write(`branchline: ${lineOf(error)}\n`)
    if (process.env.BRANCHLINE_TRACE) console.error(error)
    return error instanceof CliError ? error.exitCode : EXIT.failed
  }
}

function lineOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, ' ')
}

// Output to a pipe that nobody reads any more (`| head`) is no failure.
process.stdout.on('error', error => {
  if ('code' in error && error.code === 'EPIPE') process.exit(EXIT.ok)
  throw error
})

process.exitCode = await run(process.argv.slice(2))
