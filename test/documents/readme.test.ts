import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { bodyOf, DocumentPrograms, openPage } from '../setup/document-programs.ts'
import { absent, CHROMIUM } from '../setup/programs.ts'

const readme = new DocumentPrograms('README.md')

readme.run({
  'A server and a client': [async (t, app) => {
    const expected = Array.from({ length: 10 }, (_, n) => `data: {"status":200,"resMsg":"server sent event message: ${n + 1}"}\n\n`).join('')
    t.equal(await bodyOf(app, '/sse'), expected)
    t.ok(expected.startsWith(readme.block('A server and a client', 'text')), 'the text is the first event')
  }],
  'Typed events': [async (t, app) => {
    const id = '0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d'
    t.equal(await bodyOf(app, '/orders'), `event: created\nid: 1\ndata: {"id":"${id}","total":12.5}\n\n` +
      `event: note\ndata: line one\ndata: line two\n\nevent: paid\nid: 2\ndata: {"id":"${id}"}\n\n`)
  }],
  Options: [async (t, app) => {
    await app.ready()
    t.ok(app.hasReplyDecorator('sse'))
  }]
})

t.test('the page runs in a browser', { skip: absent(CHROMIUM) }, async t => {
  const { app } = await readme.loadAgain<{ app: FastifyInstance }>("'/sse'")
  t.teardown(() => app.close())
  const page = await openPage(t, await app.listen({ port: 0, host: '127.0.0.1' }))
  await page.setContent(readme.block('A server and a client', 'html'))
  await page.waitForSelector('li:nth-child(10)')
  t.equal(await page.textContent('li:nth-child(10)'), 'server sent event message: 10')
})
