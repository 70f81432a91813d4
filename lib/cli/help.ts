import type { Option, Options } from './arguments.ts'
import type { Terminal } from './terminal.ts'

/** One of the commands: what it is, what it takes, and what its exit code says. */
export interface Command {
  readonly name: string
  readonly text: string
  readonly options: Options
  readonly exits: Readonly<Record<number, string>>
  /** Answers with the exit code. Throws a UsageError. */
  readonly run: (args: readonly string[], terminal: Terminal) => Promise<number>
}

/** What `--help` says of a command. */
export function helpOf ({ name, text, options, exits }: Command): string {
  return `Usage: fastify-typed-sse-client ${name} <url> [options]

${text}

Options
${table(optionRows(options))}

Exit codes
${table(Object.entries(exits))}
`
}

/** What it says of all of them. */
export function overview (commands: readonly Command[]): string {
  return `Usage: fastify-typed-sse-client <command> <url> [options]

${table(commands.map(({ name, text }) => [name, text]))}

fastify-typed-sse-client <command> --help says more.
`
}

/** Each option as it is written, and what it means. */
export function optionRows (options: Options): Array<[string, string]> {
  return Object.entries(options).map(([name, option]) => [signatureOf(name, option), meaningOf(option)])
}

const signatureOf = (name: string, { short, value }: Option): string => `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` <${value}>`}`

const meaningOf = ({ text, multiple, default: standard }: Option): string => [text, ...multiple === true ? ['may stand there more than once'] : [], ...standard === undefined ? [] : [`default ${standard}`]].join('; ')

function table (rows: ReadonlyArray<readonly [string, string]>): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`).join('\n')
}
