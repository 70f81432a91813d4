import { numberOf, parse } from './arguments.ts'
import { answer } from './doctor/answer.ts'
import { arrival } from './doctor/arrival.ts'
import { compression } from './doctor/compression.ts'
import { cors } from './doctor/cors.ts'
import { examine, type Examination } from './doctor/examination.ts'
import { isStream } from './doctor/exchange.ts'
import type { Probe } from './doctor/finding.ts'
import { headRequest } from './doctor/head-request.ts'
import { protocol } from './doctor/protocol.ts'
import { reconnect } from './doctor/reconnect.ts'
import { report } from './doctor/report.ts'
import { silence } from './doctor/silence.ts'
import type { Command } from './help.ts'
import { printable } from './printable.ts'
import { reasonOf } from './reason.ts'
import { targetOf, urlOf } from './target.ts'
import { painterOf, write, type Terminal } from './terminal.ts'
import { UsageError } from './usage-error.ts'

const options = {
  json: { text: 'one JSON object: url, seconds, probes with their findings' },
  seconds: { value: 'n', default: '20', text: 'how long to look at the stream' },
  origin: { value: 'url', text: 'the same stream without what is between, to compare with' },
  'browser-origin': { value: 'origin', text: 'what a page there would get (CORS), as https://app.example' },
  header: { value: "'Name: value'", short: 'H', multiple: true, text: 'sent along' }
} as const

const exits = {
  0: 'no problem was found; there may be warnings',
  1: 'problems were found',
  2: 'the command cannot be understood',
  3: 'there is no connection to the server',
  130: 'interrupted (Ctrl-C)'
} as const

export const doctor: Command = { name: 'doctor', text: 'Looks at the way from here to a stream, and says what to set.', options, exits, run }

async function run (args: readonly string[], terminal: Terminal): Promise<number> {
  const { values, positionals } = parse(args, options)
  const target = targetOf(positionals, values.header)
  const seconds = numberOf('seconds', values.seconds, { least: 0.1, whole: false })
  const origin = values.origin === undefined ? undefined : urlOf(values.origin)
  const browserOrigin = values['browser-origin'] === undefined ? undefined : originOf(values['browser-origin'])
  const { stdout, stderr, signal } = terminal
  const paint = painterOf(terminal)
  stdout.on('error', () => {})
  stderr.write(`Looking at ${printable(target.url.href)} for ${seconds} s …\n`)
  const examination = await examine({ target, origin, browserOrigin, seconds, signal })
  if (signal.aborted) return 130
  const { base } = examination
  if (base.connected === undefined) {
    stderr.write(`There is no connection: ${printable(reasonOf(base.end.error ?? new Error(`nothing for ${seconds} s`)))}\n`)
    return 3
  }
  const probes = probesOf(examination)
  await write(stdout, values.json ? `${printable(JSON.stringify({ url: target.url, seconds, probes }))}\n` : report(probes, paint), signal)
  return probes.some(({ mark }) => mark === 'problem') ? 1 : 0
}

/** Of what is no stream, not all can be asked. */
function probesOf (examination: Examination): Probe[] {
  const common = [answer(examination), protocol(examination), ...cors(examination)]
  const { base, origin } = examination
  // What is held back from its head on shows beside the origin.
  if (base.head === undefined && origin !== undefined) return [...common, arrival(examination)]
  if (!isStream(base)) return common
  return [...common, ...[arrival, compression, silence, headRequest, reconnect].map(probe => probe(examination))]
}

function originOf (text: string): string {
  const { origin, href } = urlOf(text)
  if (href !== `${origin}/`) throw new UsageError(`An origin is scheme, host and port, and '${text}' is more`)
  return origin
}
