import { build } from 'esbuild'
import Fastify from 'fastify'
import { chromium } from 'playwright-core'
import t from 'tap'
import sse from '../../lib/index.ts'
import { FLAGS } from '../setup/chromium.ts'
import { listen } from '../setup/listen.ts'
import { MAPS } from '../setup/map-kinds.ts'
import { absent, CHROMIUM, need } from '../setup/programs.ts'

// Each check of events runs on each map of a kind, in a page whose policy forbids to generate code.
const PAGE = `
import { connect } from './lib/client.ts'
import { validate as sinclair } from './lib/client/validate.ts'
import { validate as jsonSchema } from './lib/client/validate/json-schema.ts'
import { validate as standard } from './lib/client/validate/standard.ts'
import { validate as typebox } from './lib/client/validate/typebox.ts'
import { MAPS } from './test/setup/map-kinds.ts'

const read = async (url, events, validate) => {
  const data = []
  const stream = connect(url, { events, validate })
  try {
    for await (const event of stream) data.push(event.data)
  } catch (error) {
    data.push(error.code)
  }
  return data
}
const both = (schema, data) => sinclair(schema, data) ?? typebox(schema, data)
window.result = (async () => {
  const result = {}
  for (const [index, [kind, events]] of Object.entries(MAPS).entries()) {
    for (const [name, validate] of Object.entries({ both, jsonSchema, standard })) {
      result[kind + ', ' + name] = [await read('/' + index, events, validate), await read('/wrong', events, validate)]
    }
  }
  return result
})()
`

/** The kinds that each check leaves to the server. */
const LEFT_TO_THE_SERVER = {
  both: ['JSON Schema'],
  jsonSchema: [] as string[],
  standard: ['TypeBox 0.34', 'TypeBox 1.x', 'JSON Schema']
}

const ORDER = { id: 1, lines: ['a'] }
const RIGHT = ['5', 'low', ORDER]
const CHECKED = [RIGHT, ['FST_SSE_INVALID_EVENT']]
const UNCHECKED = [RIGHT, [{ id: 'x', lines: [] }]]

t.test('C1: maps of all kinds are checked in a page that may generate no code', { skip: absent(CHROMIUM) }, async t => {
  const { outputFiles } = await build({
    stdin: { contents: PAGE, loader: 'ts', resolveDir: '.' },
    bundle: true,
    format: 'iife',
    target: 'es2022',
    write: false
  })
  const app = Fastify()
  await app.register(sse)
  app.get('/', (_request, reply) =>
    reply.type('text/html').header('content-security-policy', "default-src 'self'; img-src data:")
      .send('<!doctype html><link rel="icon" href="data:,"><script src="/page.js"></script>'))
  app.get('/page.js', (_request, reply) => reply.type('text/javascript').send(outputFiles[0]!.text))
  for (const [index, map] of Object.values(MAPS).entries()) {
    app.get(`/${index}`, { schema: { sse: map } }, (_request, reply) =>
      reply.sse([
        { event: 'note', data: '5' },
        { event: 'level', data: 'low' },
        { event: 'order', data: { ...ORDER, secret: true } }
      ], { finite: true }))
  }
  app.get('/wrong', (_request, reply) =>
    reply.sse([{ event: 'order', data: { id: 'x', lines: [] } }], { finite: true }))
  const port = await listen(t, app)

  const browser = await chromium.launch({ executablePath: need(CHROMIUM), args: FLAGS })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${port}/`)
  const result = await page.evaluate(() => (window as unknown as { result: Promise<object> }).result)
  t.strictSame(result, Object.fromEntries(Object.keys(MAPS).flatMap(kind =>
    Object.entries(LEFT_TO_THE_SERVER).map(([name, kinds]) =>
      [`${kind}, ${name}`, kinds.includes(kind) ? UNCHECKED : CHECKED]))))
})
