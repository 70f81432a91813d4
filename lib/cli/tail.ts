import { connect } from '../client/connect.ts'
import type { StreamState } from '../client/stream-reader.ts'
import type { PerAttempt } from '../client/request.ts'
import type { StreamError, StreamErrorCode } from '../client/stream-error.ts'
import { numberOf, parse, UsageError } from './arguments.ts'
import type { Command } from './help.ts'
import { jsonLine, Layout } from './layout.ts'
import { targetOf } from './target.ts'
import { painterOf, printable, reasonOf, write, type Terminal } from './terminal.ts'

const options = {
  json: { text: 'one JSON object per line: time, event, id, data' },
  event: { value: 'name', multiple: true, text: 'prints only events of this name' },
  since: { value: 'id', text: 'starts after this id (Last-Event-ID)' },
  header: { value: "'Name: value'", short: 'H', multiple: true, text: 'a request header' },
  count: { value: 'n', text: 'ends after this number of events' },
  'no-reconnect': { text: 'ends when the connection ends' }
} as const

const exits = {
  0: 'the server has no more events, --count is reached, or the output is closed',
  1: 'failure: an `error` event of the server; with --no-reconnect, a lost or failed connection',
  2: 'the command is invalid',
  3: 'the server answered with another status than 200, with no event stream, or with a redirect that tail does not follow',
  130: 'interrupted (Ctrl-C)'
} as const

const NO_STREAM: readonly StreamErrorCode[] = ['FST_SSE_STATUS', 'FST_SSE_CONTENT_TYPE', 'FST_SSE_REDIRECT']

export const tail: Command = {
  name: 'tail',
  text: 'Prints the events of a stream as they arrive, and reconnects when the connection breaks.',
  options,
  exits,
  run
}

async function run (args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options)
  const { url, headers } = targetOf(positionals, values.header)
  const { since = '', event: names } = values
  const count = values.count === undefined ? Infinity : numberOf('count', values.count, { least: 1, whole: true })
  // No header can carry it, and another attempt would not help.
  if (/[^\P{Cc}\t\x80-\x9f]/u.test(since)) {
    throw new UsageError("Option '--since' must be an id: one line without control characters")
  }
  const { stdout, signal } = terminal
  const layout = new Layout(painterOf(terminal))
  const { report, url: urlOf, ...listeners } = noticesOf(terminal, url)
  const stream = connect(urlOf, {
    headers: { ...headers },
    lastEventId: since,
    reconnect: !values['no-reconnect'],
    signal,
    ...listeners
  })
  let outputError: NodeJS.ErrnoException | undefined
  const onOutputError = (error: NodeJS.ErrnoException): void => {
    outputError = error
    stream.close()
  }
  stdout.on('error', onOutputError)
  let printed = 0
  try {
    for await (const event of stream) {
      if (names.length > 0 && !names.includes(event.event)) continue
      await write(stdout, values.json ? jsonLine(event, new Date()) : layout.lines(event, new Date()), signal)
      if (++printed >= count) return 0
    }
  } catch (error) {
    const { code } = error as StreamError
    // fetch rejects the port, or Node rejects a header.
    if (code === 'FST_SSE_REQUEST') throw new UsageError(reasonOf(error))
    report(reasonOf(error))
    return NO_STREAM.includes(code) ? 3 : 1
  } finally {
    // Later errors of the output are no failure.
    stdout.off('error', onOutputError).on('error', () => {})
  }
  if (signal.aborted) return 130
  // `tail … | head` has closed the output.
  if (outputError?.code === 'EPIPE') return 0
  if (outputError !== undefined) report(`The output failed: ${outputError.message}`)
  else report('The server has no more events')
  return outputError === undefined ? 0 : 1
}

interface Notices {
  report: (text: string) => void
  url: PerAttempt<URL>
  onStateChange: (state: StreamState) => void
  onError: (error: StreamError, next: { delay: number | undefined }) => void
}

/** Reports the state of the connection on stderr. */
function noticesOf ({ stderr }: Terminal, url: URL): Notices {
  const report = (text: string): void => { stderr.write(`${printable(text)}\n`) }
  let after = ''
  let isRetry = false
  let isExplained = false
  return {
    report,
    url: ({ attempt, lastEventId }) => {
      isRetry = attempt > 1
      after = lastEventId === '' ? '' : ` after ${lastEventId}`
      return url
    },
    onStateChange: state => {
      if (state === 'connecting' && !isExplained) report('The stream ended, reconnecting')
      if (state === 'connecting' || !isRetry) return
      isRetry = isExplained = false
      if (state !== 'closed') report(`Reconnected, resuming${after}`)
    },
    onError: (error, { delay }) => {
      isExplained = true
      if (delay !== undefined) report(`${reasonOf(error)}, reconnecting in ${(delay / 1_000).toFixed(1)} s`)
    }
  }
}
