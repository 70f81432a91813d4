import type { Examination } from './examination.ts'
import type { Exchange } from './exchange.ts'
import { note, probeOf, problem, warning, type Finding, type Probe } from './finding.ts'

/** Checks the access of a page of another origin, if --browser-origin names one. */
export function cors ({ page }: Examination): Probe[] {
  if (page === undefined) return []
  const { origin, answer, preflight } = page
  const allowed = headerOf(answer, 'access-control-allow-origin')
  const cookies = headerOf(answer, 'access-control-allow-credentials') === 'true' && allowed !== '*'
  const summary = `${origin}: ${
    allowed === '' ? 'nothing allowed' : `${allowed} allowed, ${cookies ? 'with' : 'without'} cookies`
  }`
  if (allowed !== origin && allowed !== '*') {
    const header = allowed === ''
      ? 'There is no access-control-allow-origin'
      : `access-control-allow-origin is ${allowed}`
    return [
      probeOf('CORS', summary, [
        problem(`${header}: a page of ${origin} cannot read the stream.`, `@fastify/cors: { origin: '${origin}' }`)
      ])
    ]
  }
  return [
    probeOf('CORS', summary, [...cookies
      ? []
      : [
          note('An EventSource with withCredentials fails: cookies are not allowed.',
            '@fastify/cors: { credentials: true } and no *')
        ], ...preflightOf(origin, preflight)])
  ]
}

/** Checks the preflight: a native EventSource sends none, a client based on fetch does, for these headers. */
function preflightOf (origin: string, preflight: Exchange): Finding[] {
  const { status = 0 } = preflight.head ?? {}
  const allowed = headerOf(preflight, 'access-control-allow-origin')
  const setting = "@fastify/cors: { allowedHeaders: ['Authorization', 'Last-Event-ID'] }"
  if (status < 200 || status > 299 || (allowed !== origin && allowed !== '*')) {
    return [
      warning(
        `The preflight is rejected (${
          status === 0 ? 'no response' : status
        }): a client based on fetch cannot send Authorization, nor Last-Event-ID when it reconnects. A native EventSource can.`,
        setting
      )
    ]
  }
  const names = headerOf(preflight, 'access-control-allow-headers').toLowerCase().split(',').map(name => name.trim())
  // The asterisk means every header but this one (Fetch §3.2.5).
  const missing = ['last-event-id', 'authorization'].filter(name =>
    !names.includes(name) && (name === 'authorization' || !names.includes('*'))
  )
  return missing.length === 0
    ? []
    : [
        warning(
        `The preflight does not allow ${missing.join(' and ')}: a client based on fetch cannot send ${
          missing.length === 1 ? 'it' : 'them'
        }.`,
        setting
        )
      ]
}

function headerOf ({ head }: Exchange, name: string): string {
  return String(head?.headers[name] ?? '')
}
