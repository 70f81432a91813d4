import type { Examination } from './examination.ts'
import { isStream, type Exchange } from './exchange.ts'
import { note, probeOf, problem, timeText, warning, type Finding, type Probe } from './finding.ts'

// Whoever waits for `onopen` notices. Milliseconds.
const LATE = 2_000
// What came with the head, came with it.
const TOGETHER = 100

/** Whether it answers, with what, and when. */
export function answer ({ base, seconds }: Examination): Probe {
  const { head, redirects, url, end } = base
  const away = redirects.length === 0 ? [] : [note(`It is at ${url.href}, and says so with ${redirects.length === 1 ? 'a redirect' : 'redirects'}. Each connection asks twice.`, 'use that URL')]
  if (head === undefined) {
    const silent = end.how === 'left'
    return probeOf('answer', silent ? `none within ${timeText(seconds * 1_000)}` : 'none', [...away, silent
      ? problem('There is a connection, and no answer. Either the head waits for the first event, or something waits for the whole answer.', 'send the head at once (flushHeadersAfter); nginx: proxy_buffering off, proxy_http_version 1.1. --origin <url> tells which')
      : problem(`There is no answer: ${end.error?.message ?? 'the connection ended'}.`)])
  }
  const first = base.arrivals.pieces[0]?.at
  const type = head.headers['content-type'] ?? 'no content type'
  const summary = `${head.status} ${type}, head after ${timeText(head.at)}, ${first === undefined ? 'no byte of the body' : `first byte after ${timeText(first)}`}`
  return probeOf('answer', summary, [...away, ...isStream(base) ? [...timesOf(base, head.at, first), ...headersOf(head.headers['cache-control'] ?? '')] : [refusal(head.status, type)]])
}

function refusal (status: number, type: string): Finding {
  if (status === 204) return note('204 says that there is nothing more: a native EventSource stops, and does not come back.')
  if (status === 200) return problem(`The type is ${type}, where a client wants text/event-stream: a native EventSource gives up.`, 'content-type: text/event-stream; or another URL')
  return problem(`The status is ${status}: a native EventSource that gets another one than 200 gives up, and does not come back.`, status === 401 || status === 403 ? "--header 'Authorization: …' sends yours along" : undefined)
}

function timesOf ({ arrivals: { events, pieces } }: Exchange, head: number, first: number | undefined): Finding[] {
  const setting = 'send the head and a comment at once (flushHeadersAfter, 50 ms unless you set another)'
  if (head >= LATE) {
    const together = first !== undefined && first - head < TOGETHER && events[0]?.at === pieces[0]!.at
    return [warning(together
      ? `The head came only with the first event, after ${timeText(head)}: until then a page does not know that it is connected, and a proxy may give up.`
      : `The head took ${timeText(head)}.`, setting)]
  }
  if (first !== undefined && first - head >= LATE) return [warning(`After the head nothing came for ${timeText(first - head)}: some proxies keep the head until there is a byte of the body.`, setting)]
  return []
}

function headersOf (cacheControl: string): Finding[] {
  if (/no-transform/i.test(cacheControl)) return []
  return [warning(`${cacheControl === '' ? 'There is no cache-control' : `cache-control is '${cacheControl}'`}: a proxy may compress the stream, or keep it.`, 'cache-control: no-cache, no-transform')]
}
