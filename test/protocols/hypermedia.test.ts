import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ServerSentEventGenerator } from '@starfederation/datastar-sdk'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import sse, { type AnyEvent, type EventMap } from '../../lib/index.ts'
import {
  datastarEvents, datastarOptions, executeScript, html, htmxEvents, htmxOptions, patchElements, patchSignals,
  turboEvents, turboOptions, turboStream
} from '../../lib/protocols/hypermedia.ts'
import type { StreamOptions } from '../../lib/stream/options.ts'

/** Returns the body of a stream with these events, or of a source. */
async function bodyOf (
  t: Test,
  map: EventMap,
  source: readonly AnyEvent[] | (() => AsyncGenerator<AnyEvent>),
  options: StreamOptions = {}
): Promise<string> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(sse)
  app.get('/', { schema: { sse: map as EventMap } }, (_request, reply) => reply.sse(source, options))
  return (await app.inject('/')).body
}

/** Returns the bytes that the SDK of Datastar sends. */
async function sdkBodyOf (t: Test, send: (stream: ServerSentEventGenerator) => void): Promise<string> {
  const server = createServer((request, response) => {
    ServerSentEventGenerator.stream(request, response, stream => { send(stream) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return await (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)).text()
}

const HTML = '<ul id="rows">\n  <li>one</li>\n</ul>'

t.test('Datastar: the bytes are those of its SDK', async t => {
  const signals = { user: { name: 'Alice & "Bob"' }, gone: null }
  t.equal(await bodyOf(t, datastarEvents, [
    patchElements(HTML),
    patchElements(HTML, { mode: 'outer', namespace: 'html', useViewTransition: false }),
    patchElements(html`<p>${'a'}</p>`, { mode: 'append', selector: '#a, .b > c', useViewTransition: true }),
    patchElements('<circle/>', { mode: 'inner', selector: '#d', namespace: 'svg' }),
    patchElements('', { mode: 'remove', selector: '#e' }),
    { ...patchElements('<p id="f"></p>', { mode: 'remove' }), id: '7', retry: 50 },
    patchSignals(signals),
    patchSignals(signals, { onlyIfMissing: false }),
    patchSignals({}, { onlyIfMissing: true }),
    executeScript('console.log("hi")'),
    executeScript('x()\ny()', { autoRemove: false, attributes: { type: 'module', async: 'true' } })
  ]), await sdkBodyOf(t, stream => {
    stream.patchElements(HTML)
    stream.patchElements(HTML, { mode: 'outer', namespace: 'html', useViewTransition: false })
    stream.patchElements('<p>a</p>', { mode: 'append', selector: '#a, .b > c', useViewTransition: true })
    stream.patchElements('<circle/>', { mode: 'inner', selector: '#d', namespace: 'svg' })
    stream.patchElements('', { mode: 'remove', selector: '#e' })
    stream.patchElements('<p id="f"></p>', { mode: 'remove', eventId: '7', retryDuration: 50 })
    stream.patchSignals(JSON.stringify(signals))
    stream.patchSignals(JSON.stringify(signals), { onlyIfMissing: false })
    stream.patchSignals('{}', { onlyIfMissing: true })
    stream.executeScript('console.log("hi")')
    stream.executeScript('x()\ny()', { autoRemove: false, attributes: { type: 'module', async: 'true' } })
  }))
})

t.test('W3: no value begins another line of Datastar', async t => {
  for (const end of ['\r\n', '\r', '\n']) {
    t.equal(patchElements(`a${end}selector body`, { selector: `b${end}elements c` }).data,
      'selector b\nselector elements c\nelements a\nelements selector body')
  }
  t.equal(await bodyOf(t, datastarEvents, [patchElements('a\rselector body\n\nevent: x')]),
    'event: datastar-patch-elements\ndata: elements a\ndata: elements selector body\ndata: elements \ndata: elements event: x\n\n')
  t.equal(patchSignals({ text: 'a\r\nonlyIfMissing true' }).data, 'signals {"text":"a\\r\\nonlyIfMissing true"}')
})

t.test('W3: a mode or a namespace outside its list is refused', async t => {
  for (const options of [{ mode: 'append\nelements x' }, { namespace: 'xml' }] as object[]) {
    t.throws(() => patchElements('x', options), { code: 'FST_SSE_OPTION' })
  }
})

t.test('W3: no text in a script ends its element', async t => {
  t.equal(executeScript('log("</script><!--<SCRIPT>", 1 < 2)').data,
    'mode append\nselector body\nelements <script data-effect="el.remove()">log("\\x3c/script>\\x3c!--\\x3cSCRIPT>", 1 < 2)</script>')
})

t.test('html escapes values in texts and attributes, and inserts lists and other html', async t => {
  const name = '<b a="1" c=\'2\'>&amp;'
  const escaped = '&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;'
  const rows = [1, null, undefined, 0, false, html`<i>${name}</i>`]
  t.equal(String(html`<p title="${name}">${name}</p>${rows}`),
    `<p title="${escaped}">${escaped}</p>10false<i>${escaped}</i>`)
  t.equal(String(html``), '')
})

t.test('Turbo: an action, its attributes and its HTML', async t => {
  t.equal(turboStream('append', { target: 'rows' }, '<li>1</li>'),
    '<turbo-stream action="append" target="rows"><template><li>1</li></template></turbo-stream>')
  t.equal(turboStream('replace', { targets: '.a > b', method: 'morph', other: undefined }, html`<i>${'<'}</i>`),
    '<turbo-stream action="replace" targets=".a &gt; b" method="morph"><template><i>&lt;</i></template></turbo-stream>')
  t.equal(turboStream('remove', { target: 'a' }), '<turbo-stream action="remove" target="a"></turbo-stream>')
  t.equal(turboStream('refresh'), '<turbo-stream action="refresh"></turbo-stream>')
})

t.test('W3: no value of an attribute begins another one, and no name', async t => {
  t.equal(turboStream('remove', { target: 'a" onclick="x()' }),
    '<turbo-stream action="remove" target="a&quot; onclick=&quot;x()"></turbo-stream>')
  t.throws(() => turboStream('remove', { 'a onclick': 'x()' }), { code: 'FST_SSE_OPTION' })
  t.equal(await bodyOf(t, turboEvents, [{ data: turboStream('x\n\nevent: y', {}, 'a\r\nb') }]),
    'data: <turbo-stream action="x\ndata: \ndata: event: y"><template>a\ndata: b</template></turbo-stream>\n\n')
})

const LIBRARIES = {
  htmx: [htmxEvents, htmxOptions, { data: '<p>1</p>' }],
  Turbo: [turboEvents, turboOptions, { data: turboStream('refresh') }],
  Datastar: [datastarEvents, datastarOptions, patchElements('<p id="a">1</p>')]
} as const satisfies Record<string, readonly [EventMap, StreamOptions, AnyEvent]>

t.test('E2: a stream that fails sends no event', async t => {
  for (const [name, [map, options, event]] of Object.entries(LIBRARIES)) {
    const body = await bodyOf(t, map, async function * () {
      yield event
      throw new Error('secret')
    }, options)
    t.notMatch(body, /secret|event: (?!datastar)/, name)
    t.equal(body.match(/^$/gm)!.length, 2, 'there is one event')
  }
})

t.test('htmx: the end of a source is the event `end`', async t => {
  t.equal(await bodyOf(t, htmxEvents, [{ data: '<p>\n1</p>' }], htmxOptions), 'data: <p>\ndata: 1</p>\n\nevent: end\ndata: \n\n')
})

t.test('R3: after a reset, Turbo and Datastar load the page again, and htmx gets the event', async t => {
  const resets: string[] = []
  for (const [map, options] of Object.values(LIBRARIES)) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(sse)
    const feed = app.sse.channel('feed', { events: map as EventMap })
    app.get('/', { schema: { sse: map as EventMap } }, (_request, reply) => reply.sse(feed, options))
    await feed.end()
    const { body } = await app.inject({ url: '/', headers: { 'last-event-id': 'of another server' } })
    resets.push(body.match(/^event: sse\.reset$|<turbo-stream.*<\/turbo-stream>|<script.*<\/script>/m)?.[0] ?? body)
  }
  t.strictSame(resets, ['event: sse.reset', '<turbo-stream action="refresh"></turbo-stream>',
    '<script data-effect="el.remove()">location.reload()</script>'])
})
