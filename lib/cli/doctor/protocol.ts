import type { Examination } from './examination.ts'
import { note, probeOf, warning, type Probe } from './finding.ts'

const SIX = 'Over HTTP/1.1 a browser has six connections for all tabs of an origin: the seventh stream waits, and so does every other request.'

/** Which HTTP it is, and what that means for a browser. */
export function protocol ({ base, alpn }: Examination): Probe {
  const { version = '', headers = {} } = base.head ?? {}
  const summary = [base.head === undefined ? 'no answer' : `HTTP/${version}`, ...alpn === undefined ? ['without TLS'] : alpn === 'h2' ? [] : ['HTTP/2 is not offered']].join(', ')
  return probeOf('protocol', summary, [
    ...alpn === 'h2' ? [] : alpn === undefined ? [note(`${SIX} Browsers speak HTTP/2 over TLS alone.`, 'TLS and HTTP/2 in front; or share: true of connect()')] : [warning(SIX, 'nginx: http2 on; or share: true of connect()')],
    ...version === '1.0'
      ? [warning('The answer is HTTP/1.0: a stream that broke off looks like one that ended, and each request needs a connection of its own.', 'a proxy that speaks HTTP/1.1 (nginx: proxy_http_version 1.1)')]
      : /\bclose\b/i.test(headers.connection ?? '') ? [warning('connection: close: each request needs a connection of its own.', "keep-alive (nginx: proxy_set_header Connection '', keepalive)")] : []
  ])
}
