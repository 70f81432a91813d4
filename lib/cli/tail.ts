import { connect } from '../client/connect.ts'
import type { StreamState } from '../client/stream-reader.ts'
import type { PerAttempt } from '../client/request.ts'
import type { StreamError, StreamErrorCode } from '../client/stream-error.ts'
import { numberOf, parse } from './arguments.ts'
import type { Command } from './help.ts'
import { jsonLine, Layout } from './layout.ts'
import { printable } from './printable.ts'
import { reasonOf } from './reason.ts'
import { targetOf } from './target.ts'
import { painterOf, write, type Terminal } from './terminal.ts'
import { UsageError } from './usage-error.ts'

const options = {
  json: { text: 'one JSON object per line: time, event, id, data' },
  event: { value: 'name', multiple: true, text: 'only events of that name' },
  since: { value: 'id', text: 'begins after that id (Last-Event-ID)' },
  header: { value: "'Name: value'", short: 'H', multiple: true, text: 'sent along' },
  count: { value: 'n', text: 'ends after so many events' },
  'no-reconnect': { text: 'one connection, and no other when it is over' }
} as const

const exits = {
  0: 'the server has no more, or --count is reached, or nobody reads the output any more',
  1: 'it failed: an event `error` of the server; with --no-reconnect, a connection that broke or was not made',
  2: 'the command cannot be understood',
  3: 'the server refused with a status, or answered with something that is no event stream, or with a redirect that tail does not follow',
  130: 'interrupted (Ctrl-C)'
} as const

const REFUSALS: readonly StreamErrorCode[] = ['FST_SSE_STATUS', 'FST_SSE_CONTENT_TYPE', 'FST_SSE_REDIRECT']

export const tail: Command = { name: 'tail', text: 'Prints the events of a stream as they come, and comes back when the connection breaks.', options, exits, run }

async function run (args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options)
  const { url, headers } = targetOf(positionals, values.header)
  const { since = '', event: names } = values
  const count = values.count === undefined ? Infinity : numberOf('count', values.count, { least: 1, whole: true })
  // It would be no header, and asking again would not make it one.
  if (/[^\P{Cc}\t\x80-\x9f]/u.test(since)) throw new UsageError("Option '--since' takes an id, which is one line without control characters")
  const { stdout, signal } = terminal
  const layout = new Layout(painterOf(terminal))
  const { say, url: asked, ...told } = noticesOf(terminal, url)
  const stream = connect(asked, { headers: { ...headers }, lastEventId: since, reconnect: !values['no-reconnect'], signal, ...told })
  let broken: NodeJS.ErrnoException | undefined
  const lost = (error: NodeJS.ErrnoException): void => {
    broken = error
    stream.close()
  }
  stdout.on('error', lost)
  let printed = 0
  try {
    for await (const event of stream) {
      if (names.length > 0 && !names.includes(event.event)) continue
      await write(stdout, values.json ? jsonLine(event, new Date()) : layout.lines(event, new Date()), signal)
      if (++printed >= count) return 0
    }
  } catch (error) {
    const { code } = error as StreamError
    // fetch refuses the port, or Node refuses a header.
    if (code === 'FST_SSE_REQUEST') throw new UsageError(reasonOf(error))
    say(reasonOf(error))
    return REFUSALS.includes(code) ? 3 : 1
  } finally {
    // What it says after we have left is said to nobody.
    stdout.off('error', lost).on('error', () => {})
  }
  if (signal.aborted) return 130
  // `tail … | head` has what it wanted.
  if (broken?.code === 'EPIPE') return 0
  if (broken !== undefined) say(`The output failed: ${broken.message}`)
  else say('The server has no more')
  return broken === undefined ? 0 : 1
}

interface Notices {
  say: (text: string) => void
  url: PerAttempt<URL>
  onStateChange: (state: StreamState) => void
  onError: (error: StreamError, next: { delay: number | undefined }) => void
}

/** Says on stderr what becomes of the connection. */
function noticesOf ({ stderr }: Terminal, url: URL): Notices {
  const say = (text: string): void => { stderr.write(`${printable(text)}\n`) }
  let after = ''
  let again = false
  let explained = false
  return {
    say,
    url: ({ attempt, lastEventId }) => {
      again = attempt > 1
      after = lastEventId === '' ? '' : ` after ${lastEventId}`
      return url
    },
    onStateChange: state => {
      if (state === 'connecting' && !explained) say('The stream ended, connecting again')
      if (state === 'connecting' || !again) return
      again = explained = false
      if (state !== 'closed') say(`Connected again, going on${after}`)
    },
    onError: (error, { delay }) => {
      explained = true
      if (delay !== undefined) say(`${reasonOf(error)}, connecting again in ${(delay / 1_000).toFixed(1)} s`)
    }
  }
}
