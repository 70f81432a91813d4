import { readFileSync } from 'node:fs'
import t from 'tap'
import { resolveChannel } from '../../lib/channel/settings.ts'
import { optionRows } from '../../lib/cli/help.ts'
import { commands } from '../../lib/cli/run.ts'
import * as errors from '../../lib/errors.ts'
import { diagnostics } from '../../lib/metrics/diagnostics.ts'
import { Statistics } from '../../lib/metrics/statistics.ts'
import { resolveRegistration } from '../../lib/server/options.ts'
import { resolveOptions } from '../../lib/stream/options.ts'
import { rowsOf, tablesOf } from '../setup/markdown.ts'

const plain = (cell = ''): string => cell.replaceAll('`', '')

t.test('the table of error codes is the list of errors', async t => {
  const documented = rowsOf('lib/errors.md', 'code', 'status').map(([code, status]) => [plain(code), status])
  const defined = Object.entries(errors).filter(([name]) => name.startsWith('FST_')).map((
    [name, make]
  ) => [name, String(new (make as new() => { statusCode: number })().statusCode)])
  t.strictSame(documented.toSorted(), [...defined, ['FST_SSE_CLOSED', '–'], ['FST_SSE_LOG_POLLING', '–']].toSorted())
})

t.test('the table of client codes lists all codes of a StreamError', async t => {
  const rows = rowsOf('lib/client/README.md', 'client code')
  const defined = readFileSync('lib/client/stream-error.ts', 'utf8').match(/(?<=\| ')FST_SSE_\w+/g)
  t.strictSame(rows.map(([code]) => plain(code)), defined)
  for (const [code, , repeated] of rows) t.match(repeated, /^(?:yes|no|from|–)/, code ?? 'no code')
})

/** The names and the defaults in the tables of options of a file. */
const defaultsIn = (path: string): Record<string, string> =>
  Object.fromEntries(rowsOf(path, 'option', 'default').map(([name, value]) => [plain(name), plain(value)]))

/** A default as a program writes it. */
const written = (value: unknown): string =>
  Array.isArray(value) ? `[${value.map(written).join(', ')}]` : typeof value === 'string' ? `'${value}'` : String(value)

t.test('the table of options has every option with its default', async t => {
  const defined = Object.entries(resolveOptions(undefined)).map((
    [name, value]
  ) => [name, value === undefined ? (name === 'errorEvent' ? 'problem' : '–') : written(value)])
  const { server: { shutdownTimeout, reconnectWindow } } = resolveRegistration({})
  t.strictSame(defaultsIn('README.md'), {
    ...Object.fromEntries(defined),
    limits: '–',
    shutdownTimeout: String(shutdownTimeout),
    reconnectWindow: String(reconnectWindow),
    eventLog: 'memoryLog()'
  })
})

t.test('the table of channel options has every option with its default', async t => {
  const { history, start, slowConsumer, pace, events, errorEvent, leaseDuration, compress, eventLog } = resolveChannel(
    'any', {})
  t.strictSame(defaultsIn('lib/channel/README.md'), {
    events: String(events ?? 'any'),
    history: `{ ${Object.entries(history).map(([bound, value]) => `${bound}: ${value}`).join(', ')} }`,
    start: written(start),
    slowConsumer: written(slowConsumer),
    pace: String(pace ?? 'every event'),
    errorEvent: String(errorEvent ?? 'problem'),
    leaseDuration: String(leaseDuration),
    compress: String(compress),
    eventLog: String(eventLog ?? 'that of the registration')
  })
})

t.test('the tables of the command line are the help of the commands', async t => {
  const tables = tablesOf('lib/cli/README.md')
  for (const { name, options } of commands) {
    t.strictSame(
      tables.find(({ heading, head }) => heading === name && head[0] === 'option')?.rows.map((
        [option, text]
      ) => [plain(option), text]),
      optionRows(options),
      name
    )
  }
  const codes = tables.find(({ head }) => head[0] === 'code')?.rows ?? []
  t.strictSame(codes,
    Object.keys(commands[0]!.exits).map(code => [code, ...commands.map(({ exits }) => exits[Number(code)])]))
  t.strictSame(commands.map(({ exits }) => Object.keys(exits)), commands.map(() => codes.map(([code]) => code)),
    'each has them all')
})

const firstColumn = (path: string, head: string): string[] => rowsOf(path, head).map(([first]) => plain(first))

t.test('the table of statistics has every figure', async t => {
  t.strictSame(firstColumn('lib/server/README.md', 'figure'), Object.keys(new Statistics().snapshot([], 0)))
})

t.test('the table of diagnostics channels has every channel', async t => {
  t.strictSame(firstColumn('lib/server/README.md', 'channel'),
    Object.keys(diagnostics).map(name => `fastify-typed-sse:${name}`))
})

t.test('the table of reasons has every reason', async t => {
  const { closed } = new Statistics().snapshot([], 0).streams
  t.strictSame(firstColumn('lib/stream/README.md', 'reason').toSorted(), Object.keys(closed).toSorted())
})
