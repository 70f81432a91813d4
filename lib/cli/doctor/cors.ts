import type { Examination } from './examination.ts'
import type { Exchange } from './exchange.ts'
import { note, probeOf, problem, warning, type Finding, type Probe } from './finding.ts'

/** What a page of another origin gets; nothing where nobody asked. */
export function cors ({ page }: Examination): Probe[] {
  if (page === undefined) return []
  const { origin, answer, preflight } = page
  const allowed = headerOf(answer, 'access-control-allow-origin')
  const cookies = headerOf(answer, 'access-control-allow-credentials') === 'true' && allowed !== '*'
  const summary = `${origin}: ${allowed === '' ? 'nothing allowed' : `${allowed} allowed, ${cookies ? 'with' : 'without'} cookies`}`
  if (allowed !== origin && allowed !== '*') {
    const told = allowed === '' ? 'There is no access-control-allow-origin' : `access-control-allow-origin is ${allowed}`
    return [probeOf('CORS', summary, [problem(`${told}: a page of ${origin} cannot read the stream.`, `@fastify/cors: { origin: '${origin}' }`)])]
  }
  return [probeOf('CORS', summary, [...cookies ? [] : [note('An EventSource with withCredentials is refused: cookies are not allowed.', '@fastify/cors: { credentials: true } and no *')], ...askedBy(origin, preflight)])]
}

/** A native EventSource never asks; what is built on fetch does, for these headers. */
function askedBy (origin: string, preflight: Exchange): Finding[] {
  const { status = 0 } = preflight.head ?? {}
  const allowed = headerOf(preflight, 'access-control-allow-origin')
  const setting = "@fastify/cors: { allowedHeaders: ['Authorization', 'Last-Event-ID'] }"
  if (status < 200 || status > 299 || (allowed !== origin && allowed !== '*')) {
    return [warning(`The preflight is refused (${status === 0 ? 'no answer' : status}): a client that is built on fetch cannot send Authorization, nor Last-Event-ID when it comes back. A native EventSource can.`, setting)]
  }
  const names = headerOf(preflight, 'access-control-allow-headers').toLowerCase().split(',').map(name => name.trim())
  // The asterisk means every header but this one (Fetch §3.2.5).
  const missing = ['last-event-id', 'authorization'].filter(name => !names.includes(name) && (name === 'authorization' || !names.includes('*')))
  return missing.length === 0 ? [] : [warning(`The preflight does not allow ${missing.join(' and ')}: a client that is built on fetch cannot send ${missing.length === 1 ? 'it' : 'them'}.`, setting)]
}

function headerOf ({ head }: Exchange, name: string): string {
  return String(head?.headers[name] ?? '')
}
