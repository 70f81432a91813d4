import type { Examination } from './examination.ts'
import { isStream, type Exchange } from './exchange.ts'
import { note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

// A delay that a page notices, since it waits for `onopen`. Milliseconds.
const LATE = 2_000
// Bytes within this time of the head arrived together with it. Milliseconds.
const TOGETHER = 100

/** Checks the response: its status, its type and its times. */
export function answer ({ base, seconds }: Examination): Probe {
  const { head, redirects, url, end } = base
  const redirected = redirects.length === 0
    ? []
    : [
        note(
        `The stream is at ${url.href}, behind ${
          redirects.length === 1 ? 'a redirect' : `${redirects.length} redirects`
        }: each connection sends more than one request.`,
        'use that URL'
        )
      ]
  if (head === undefined) {
    const silent = end.how === 'left'
    return probeOf('answer', silent ? `none within ${timeText(seconds * 1_000)}` : 'none', [...redirected, silent
      ? problem(
        'There is a connection and no response. Either the head waits for the first event, or a proxy waits for the whole response.',
        'send the head at once (flushHeadersAfter); nginx: proxy_buffering off, proxy_http_version 1.1. --origin <url> shows which'
      )
      : problem(`There is no response: ${end.error?.message ?? 'the connection ended'}.`)])
  }
  const first = base.arrivals.pieces[0]?.at
  const type = head.headers['content-type'] ?? 'no content type'
  const summary = `${head.status} ${type}, head after ${timeText(head.at)}, ${
    first === undefined ? 'no byte of the body' : `first byte after ${timeText(first)}`
  }`
  return probeOf('answer', summary, [...redirected,
    ...isStream(base)
      ? [...timesOf(base, head.at, first), ...headersOf(head.headers['cache-control'] ?? '')]
      : [noStream(head.status, type)]])
}

function noStream (status: number, type: string): Finding {
  if (status === 204) {
    return note('204 means that there are no more events: a native EventSource stops and does not reconnect.')
  }
  if (status === 200) {
    return problem(`The type is ${type}, not text/event-stream: a native EventSource stops.`,
      'content-type: text/event-stream; or another URL')
  }
  return problem(
    `The status is ${status}: a native EventSource stops at any status other than 200 and does not reconnect.`,
    status === 401 || status === 403 ? "--header 'Authorization: …' sends your credentials" : undefined
  )
}

function timesOf ({ arrivals: { events, pieces } }: Exchange, head: number, first: number | undefined): Finding[] {
  const setting = 'send the head and a comment at once (flushHeadersAfter, default 50 ms)'
  if (head >= LATE) {
    const together = first !== undefined && first - head < TOGETHER && events[0]?.at === pieces[0]!.at
    return [warning(together
      ? `The head arrived only with the first event, after ${
        timeText(head)
      }: until then a page does not know that it is connected, and a proxy may time out.`
      : `The head took ${timeText(head)}.`, setting)]
  }
  if (first !== undefined && first - head >= LATE) {
    return [
      warning(
        `No byte followed the head for ${
          timeText(first - head)
        }: some proxies hold the head until the first byte of the body.`,
        setting
      )
    ]
  }
  return []
}

function headersOf (cacheControl: string): Finding[] {
  if (/no-transform/i.test(cacheControl)) return []
  return [
    warning(
      `${
        cacheControl === '' ? 'There is no cache-control' : `cache-control is '${cacheControl}'`
      }: a proxy may compress or cache the stream.`,
      'cache-control: no-cache, no-transform'
    )
  ]
}

const SIX =
  'Over HTTP/1.1 a browser has six connections for all tabs of an origin: the seventh stream waits, and so does every other request.'

/** Checks the version of HTTP, which limits the connections of a browser. */
export function protocol ({ base, alpn }: Examination): Probe {
  const { version = '', headers = {} } = base.head ?? {}
  const summary = [base.head === undefined ? 'no answer' : `HTTP/${version}`,
    ...alpn === undefined ? ['without TLS'] : alpn === 'h2' ? [] : ['HTTP/2 is not offered']].join(', ')
  return probeOf('protocol', summary, [
    ...alpn === 'h2'
      ? []
      : alpn === undefined
        ? [note(`${SIX} Browsers use HTTP/2 over TLS only.`, 'TLS and HTTP/2 in front; or share: true of connect()')]
        : [warning(SIX, 'nginx: http2 on; or share: true of connect()')],
    ...version === '1.0'
      ? [
          warning(
            'The response is HTTP/1.0: a broken stream looks like a complete one, and each request needs a new connection.',
            'a proxy that uses HTTP/1.1 (nginx: proxy_http_version 1.1)'
          )
        ]
      : /\bclose\b/i.test(headers.connection ?? '')
        ? [
            warning('connection: close: each request needs a new connection.',
              "keep-alive (nginx: proxy_set_header Connection '', keepalive)")
          ]
        : []
  ])
}

/** Checks the response to HEAD: it has to end after its head. */
export function headRequest ({ head: { head, end } }: Examination): Probe {
  if (end.how === 'left') {
    return probeOf('HEAD', `open for ${timeText(end.at)}`, [
      problem(
        'The response to HEAD does not end: monitors, link checkers and `curl -I` wait for it, and each one keeps a stream of the server open.',
        'end the response to HEAD after its head'
      )
    ])
  }
  if (head === undefined) {
    return probeOf('HEAD', 'no answer', [
      note(`There is no response to HEAD: ${end.error?.message ?? 'the connection ended'}.`)
    ])
  }
  const summary = `${head.status}, over after ${timeText(end.at)}`
  return probeOf('HEAD', summary,
    head.status < 400
      ? []
      : [note(`HEAD gets ${head.status}, which monitors, link checkers and \`curl -I\` report as a failure.`)])
}
