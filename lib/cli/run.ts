import type { EventEmitter } from 'node:events'
import { UsageError } from './arguments.ts'
import { doctor } from './doctor.ts'
import { helpOf, overview, type Command } from './help.ts'
import { tail } from './tail.ts'
import { printable, type Terminal } from './terminal.ts'

export const commands: readonly Command[] = [tail, doctor]

/** The parts of the process that a command uses. */
export type World = Omit<Terminal, 'signal'> & Pick<EventEmitter, 'once' | 'off'>

/** Runs the command of these arguments. Resolves with the exit code. */
export async function run (args: readonly string[], world: World): Promise<number> {
  const [name = '', ...rest] = args
  const { stdout, stderr, env } = world
  // A closed stderr is no failure.
  stderr.on('error', () => {})
  const command = commands.find(command => command.name === name)
  const before = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
  if (command !== undefined && before.some(isHelp)) return print(stdout, helpOf(command))
  if (isHelp(name) || name === 'help') return print(stdout, overview(commands))
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  // Once: a second Ctrl-C ends the process at once.
  world.once('SIGINT', stop)
  return attempt(name, command, rest, { stdout, stderr, env, signal: controller.signal }).finally(() =>
    world.off('SIGINT', stop)
  )
}

async function attempt (
  name: string,
  command: Command | undefined,
  args: readonly string[],
  terminal: Terminal
): Promise<number> {
  try {
    if (command === undefined) {
      throw new UsageError(name === '' ? 'The command is missing' : `Unknown command '${name}'`)
    }
    return await command.run(args, terminal)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    terminal.stderr.write(
      `${printable(error.message)}\n\n${
        command === undefined ? overview(commands) : `Run 'fastify-typed-sse-client ${name} --help' for its options.\n`
      }`
    )
    return 2
  }
}

const isHelp = (word: string): boolean => word === '--help' || word === '-h'

function print (stdout: Terminal['stdout'], text: string): number {
  stdout.on('error', () => {})
  stdout.write(text)
  return 0
}
