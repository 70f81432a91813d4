import type { EventEmitter } from 'node:events'
import { doctor } from './doctor.ts'
import { helpOf, overview, type Command } from './help.ts'
import { printable } from './printable.ts'
import { tail } from './tail.ts'
import type { Terminal } from './terminal.ts'
import { UsageError } from './usage-error.ts'

export const commands: readonly Command[] = [tail, doctor]

/** What is used of the process. */
export type World = Omit<Terminal, 'signal'> & Pick<EventEmitter, 'once' | 'off'>

/** Arguments -> the exit code of the command. */
export async function run (args: readonly string[], world: World): Promise<number> {
  const [name = '', ...rest] = args
  const { stdout, stderr, env } = world
  // Who has closed it does not want to know.
  stderr.on('error', () => {})
  const command = commands.find(command => command.name === name)
  const before = rest.includes('--') ? rest.slice(0, rest.indexOf('--')) : rest
  if (command !== undefined && before.some(isHelp)) return print(stdout, helpOf(command))
  if (isHelp(name) || name === 'help') return print(stdout, overview(commands))
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  // Once: who presses it again is not made to wait for us.
  world.once('SIGINT', stop)
  return attempt(name, command, rest, { stdout, stderr, env, signal: controller.signal }).finally(() => world.off('SIGINT', stop))
}

async function attempt (name: string, command: Command | undefined, args: readonly string[], terminal: Terminal): Promise<number> {
  try {
    if (command === undefined) throw new UsageError(name === '' ? 'There is no command' : `There is no command '${name}'`)
    return await command.run(args, terminal)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    terminal.stderr.write(`${printable(error.message)}\n\n${command === undefined ? overview(commands) : `fastify-typed-sse-client ${name} --help says what it takes.\n`}`)
    return 2
  }
}

const isHelp = (word: string): boolean => word === '--help' || word === '-h'

function print (stdout: Terminal['stdout'], text: string): number {
  stdout.on('error', () => {})
  stdout.write(text)
  return 0
}
