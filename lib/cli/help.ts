import type { Option, OptionTable } from './arguments.ts'
import type { Terminal } from './terminal.ts'

/** A command: its description, its options and its exit codes. */
export interface Command {
  readonly name: string
  readonly text: string
  readonly options: OptionTable
  readonly exits: Readonly<Record<number, string>>
  /** Resolves with the exit code. Rejects with a UsageError. */
  readonly run: (args: readonly string[], terminal: Terminal) => Promise<number>
}

/** Returns the text of `--help` for a command. */
export function helpOf ({ name, text, options, exits }: Command): string {
  return `Usage: fastify-typed-sse-client ${name} <url> [options]

${text}

Options
${table(optionRows(options))}

Exit codes
${table(Object.entries(exits))}
`
}

/** Returns the text of `--help` for all commands. */
export function overview (commands: readonly Command[]): string {
  return `Usage: fastify-typed-sse-client <command> <url> [options]

${table(commands.map(({ name, text }) => [name, text]))}

Run 'fastify-typed-sse-client <command> --help' for the options of a command.
`
}

/** Returns each option as it is written, and its description. */
export function optionRows (options: OptionTable): Array<[string, string]> {
  return Object.entries(options).map(([name, option]) => [signatureOf(name, option), descriptionOf(option)])
}

const signatureOf = (name: string, { short, value }: Option): string =>
  `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`

const descriptionOf = ({ text, multiple, default: value }: Option): string =>
  [text, ...multiple === true ? ['may be repeated'] : [], ...value === undefined ? [] : [`default ${value}`]].join('; ')

function table (rows: ReadonlyArray<readonly [string, string]>): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`).join('\n')
}
