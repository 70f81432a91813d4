import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { chromium } from 'playwright-core'
import t from 'tap'
import { byteCases } from '../setup/byte-cases.ts'
import { FLAGS } from '../setup/chromium.ts'
import type { Message } from '../setup/clients/reader.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'

t.setTimeout(300_000)

// A browser checks the table of byte cases, which is our reading of the standard.

/** Longer than a test waits for a client to reconnect. */
const LATE = 10_000

t.test('Chromium parses each byte case as the table says', { skip: absent(CHROMIUM) }, async t => {
  const visits = byteCases.map((): Array<string | undefined> => [])
  const server = createServer(({ url, headers }, response) => {
    const number = Number(url!.slice(1))
    if (url === '/') {
      return response.setHeader('content-type', 'text/html').end('<!doctype html><link rel="icon" href="data:,">')
    }
    visits[number]!.push(headers['last-event-id'] as string | undefined)
    // After the events, the client must reconnect with its last event id, then stop.
    if (visits[number]!.length > 1) return response.writeHead(204).end()
    response.setHeader('content-type', 'text/event-stream').end(byteCases[number]!.bytes)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)

  // An EventSource dispatches only to listeners, so there are listeners for wrong names, too.
  const expected = byteCases.flatMap(({ expect }) => expect.messages.map(({ event }) => event))
  const names = [
    ...new Set(['message', 'a', 'x', ...expected, ...expected.map(name => name.trim()).filter(name => name !== '')])
  ]
  const reads = byteCases.map(({ expect: { retry = 0 } }) => retry < LATE)
  const shown = await page.evaluate(
    ({ reads, names }) =>
      Promise.all(reads.map((comesBack, number) =>
        new Promise<Message[]>(resolve => {
          const messages: Message[] = []
          const source = new EventSource(`/${number}`)
          const show = (event: Event): void => {
            if (event instanceof MessageEvent) {
              messages.push({ event: event.type, data: event.data, id: event.lastEventId })
            }
          }
          for (const name of new Set([...names, 'error'])) source.addEventListener(name, show)
          source.addEventListener('error', event => {
            if (event instanceof MessageEvent || (comesBack && source.readyState !== EventSource.CLOSED)) return
            source.close()
            resolve(messages)
          })
        })
      )),
    { reads, names }
  )

  for (const [number, { title, expect }] of byteCases.entries()) {
    t.strictSame(shown[number], expect.messages, title)
    if (!reads[number]) continue
    const header = visits[number]![1]
    // HTTP removes spaces at both ends of a header value.
    t.equal(header === undefined ? '' : Buffer.from(header, 'latin1').toString('utf8'),
      expect.lastEventId.replace(/^ +| +$/g, ''), `${title}: the last event ID`)
  }
})
