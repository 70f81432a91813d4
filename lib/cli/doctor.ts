import { numberOf, parse, UsageError } from './arguments.ts'
import { answer, headRequest, protocol } from './doctor/answer.ts'
import { arrival, compression } from './doctor/arrival.ts'
import { cors } from './doctor/cors.ts'
import { examine, type Examination } from './doctor/examination.ts'
import { isStream } from './doctor/exchange.ts'
import type { Probe } from './doctor/finding.ts'
import { reconnect } from './doctor/reconnect.ts'
import { report } from './doctor/report.ts'
import { silence } from './doctor/silence.ts'
import type { Command } from './help.ts'
import { targetOf, urlOf } from './target.ts'
import { painterOf, printable, reasonOf, write, type Terminal } from './terminal.ts'

const options = {
  json: { text: 'one JSON object: url, seconds, probes with their findings' },
  seconds: { value: 'n', default: '20', text: 'how long to examine the stream' },
  origin: { value: 'url', text: 'the same stream without proxies, for comparison' },
  'browser-origin': { value: 'origin', text: 'the origin of a page (CORS), such as https://app.example' },
  header: { value: "'Name: value'", short: 'H', multiple: true, text: 'a request header' }
} as const

const exits = {
  0: 'no problem was found; there may be warnings',
  1: 'problems were found',
  2: 'the command is invalid',
  3: 'the server cannot be reached',
  130: 'interrupted (Ctrl-C)'
} as const

export const doctor: Command = {
  name: 'doctor',
  text: 'Diagnoses proxies and settings between here and a stream.',
  options,
  exits,
  run
}

async function run (args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options)
  const target = targetOf(positionals, values.header)
  const seconds = numberOf('seconds', values.seconds, { least: 0.1, whole: false })
  const origin = values.origin === undefined ? undefined : urlOf(values.origin)
  const browserOrigin = values['browser-origin'] === undefined ? undefined : originOf(values['browser-origin'])
  const { stdout, stderr, signal } = terminal
  const paint = painterOf(terminal)
  stdout.on('error', () => {})
  stderr.write(`Examining ${printable(target.url.href)} for ${seconds} s …\n`)
  const examination = await examine({ target, origin, browserOrigin, seconds, signal })
  if (signal.aborted) return 130
  const { base } = examination
  if (base.connected === undefined) {
    stderr.write(
      `The server cannot be reached: ${
        printable(reasonOf(base.end.error ?? new Error(`no connection for ${seconds} s`)))
      }\n`
    )
    return 3
  }
  const probes = probesOf(examination)
  await write(stdout,
    values.json ? `${printable(JSON.stringify({ url: target.url, seconds, probes }))}\n` : report(probes, paint),
    signal)
  return probes.some(({ mark }) => mark === 'problem') ? 1 : 0
}

/** Returns the probes: a response that is no stream allows only some of them. */
function probesOf (examination: Examination): Probe[] {
  const common = [answer(examination), protocol(examination), ...cors(examination)]
  const { base, origin } = examination
  // A response without a head can be compared with the origin.
  if (base.head === undefined && origin !== undefined) return [...common, arrival(examination)]
  if (!isStream(base)) return common
  return [...common, ...[arrival, compression, silence, headRequest, reconnect].map(probe => probe(examination))]
}

function originOf (text: string): string {
  const { origin, href } = urlOf(text)
  if (href !== `${origin}/`) throw new UsageError(`Invalid origin '${text}': expected scheme, host and port`)
  return origin
}
