import type { FastifyInstance } from 'fastify'
import { build } from 'esbuild'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { DocumentPrograms, openPage } from '../setup/document-programs.ts'
import type { Channel } from '../../lib/index.ts'
import { until } from '../setup/until.ts'
import { absent, CHROMIUM } from '../setup/programs.ts'

const clientPage = new DocumentPrograms('lib/client/README.md')

clientPage.run({
  'The typed client': [
    async t => {
      const { seen, ended } = await clientPage.load<{ seen: unknown[], ended: object }>("'/import'")
      t.strictSame(seen, [50, 'HALF OF IT', 1204])
      t.strictSame(ended, { reason: 'complete' })
    },
    async t => {
      t.strictSame((await clientPage.load<{ rooms: number[] }>("'/alarms'")).rooms, [7])
    },
    async t => {
      t.strictSame((await clientPage.load<{ events: unknown[] }>("'/private'")).events, [{
        event: 'message',
        data: 'hello',
        id: '8'
      }])
    },
    async (t, app) => {
      const { texts, tickets, stream } = await clientPage.load<{
        texts: string[]
        tickets: Channel
        stream: { close: () => void }
      }>("'/tickets'")
      await until('the stream', () => tickets.subscribers === 1)
      await tickets.publish({ data: 'one' })
      await until('the event', () => texts.length > 0)
      t.strictSame(texts, ['one'])
      t.equal(app.sse.stats().streams.open, 1)
      stream.close()
    },
    async t => {
      const { ended } = await clientPage.load<{ ended: { error: Error } }>("'/levels'")
      t.match(ended.error, {
        code: 'FST_SSE_INVALID_EVENT',
        message: "Event 'level' does not match its schema: Expected number at '/value'"
      })
    },
    async t => {
      const { ended } = await clientPage.load<{ ended: { error: Error } }>("'/gauges'")
      t.match(ended.error, {
        code: 'FST_SSE_INVALID_EVENT',
        message: "Event 'alarm' does not match its schema: Invalid ISO datetime at '/since'"
      })
    }
  ]
})

const skip = absent(CHROMIUM)

/** Starts the program of the import and opens a page of its origin. */
async function openImportPage (t: Test): Promise<Page> {
  const { app, address } = await clientPage.loadAgain<{ app: FastifyInstance, address: string }>("'/import'")
  t.teardown(() => app.close())
  return await openPage(t, address)
}

t.test('the page of the typed client runs in a browser', { skip }, async t => {
  const page = await openImportPage(t)
  await page.setContent(clientPage.block('The typed client', 'html'))
  await page.waitForFunction(() => document.querySelector('p')!.textContent === '1204 rows')
})

t.test('the component of the typed client runs in a browser', { skip }, async t => {
  const page = await openImportPage(t)
  clientPage.writeComponent("'/import'")
  const contents =
    "import { createRoot } from 'react-dom/client'\nimport { Import } from './component.tsx'\ncreateRoot(document.querySelector('main')!).render(<Import url='/import' />)\n"
  const { outputFiles: [bundle] } = await build({
    stdin: { contents, loader: 'tsx', resolveDir: clientPage.folder },
    bundle: true,
    format: 'iife',
    jsx: 'automatic',
    write: false
  })
  await page.setContent('<main></main>')
  await page.addScriptTag({ content: bundle!.text })
  await page.waitForFunction(() => document.querySelector('main')!.textContent === 'closed: 50 %')
})
