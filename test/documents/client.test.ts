import { readFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build, transform, type Plugin } from 'esbuild'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import { compile, compileModule } from 'svelte/compiler'
import t, { type Test } from 'tap'
import sse, { EventQueue } from '../../lib/index.ts'
import { DocumentPrograms, openPage } from '../setup/document-programs.ts'
import type { Channel } from '../../lib/index.ts'
import { until } from '../setup/until.ts'
import { listen } from '../setup/listen.ts'
import { absent, CHROMIUM } from '../setup/programs.ts'
import { within } from '../setup/within.ts'

t.setTimeout(300_000)

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

// The parts of pages, each with a program that shows them and ends them.
const PARTS: Record<string, string> = {
  React: `
    import { createRoot } from 'react-dom/client'
    import { Import } from './component.tsx'
    const root = createRoot(document.querySelector('main'))
    root.render(<Import url='/import' />)
    window.unmount = () => root.unmount()
  `,
  Vue: `
    import { createApp, h } from 'vue'
    import { useImport } from './import.ts'
    const app = createApp({
      setup () {
        const now = useImport(() => '/import')
        return () => h('p', now.status + ': ' + now.percent + ' %')
      }
    })
    app.mount('main')
    window.unmount = () => app.unmount()
  `,
  Svelte: `
    import { mount, unmount } from 'svelte'
    import Import from './import.svelte'
    const component = mount(Import, { target: document.querySelector('main'), props: { url: '/import' } })
    window.unmount = () => unmount(component)
  `
}

const SVELTE = `<script>
  import { importProgress } from './import.svelte.ts'
  const { url } = $props()
  const now = importProgress(() => url)
</script>
<p>{now.status}: {now.percent} %</p>`

/** Compiles components and runes, as the plugins of bundlers do. */
const svelte = (generate: 'client' | 'server'): Plugin => ({
  name: 'svelte',
  setup ({ onLoad, onResolve }) {
    onResolve({ filter: /\.svelte$/ }, ({ resolveDir, path }) => ({ path: join(resolveDir, path), namespace: 'svelte' }))
    onLoad({ filter: /./, namespace: 'svelte' }, ({ path }) => ({
      contents: compile(SVELTE, { filename: path, generate }).js.code,
      resolveDir: dirname(path)
    }))
    onLoad({ filter: /\.svelte\.ts$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, 'utf8'), { loader: 'ts', target: 'esnext' })
      return { contents: compileModule(code, { filename: path, generate }).js.code }
    })
  }
})

for (const [name, program] of Object.entries(PARTS)) {
  t.test(`the code for ${name} runs in a browser, and closes its connection`, { skip }, async t => {
    const app = Fastify({ forceCloseConnections: true })
    await app.register(sse)
    const queue = new EventQueue()
    const closed = new Promise<string>(resolve => {
      app.get('/import', (_request, reply) => reply.sse(queue, { onClose: ({ reason }) => resolve(reason) }))
    })
    queue.push({ event: 'progress', data: { percent: 50 } })
    const page = await openPage(t, `http://127.0.0.1:${await listen(t, app)}`)
    const problems: string[] = []
    page.on('pageerror', error => problems.push(String(error)))
    page.on('console', message => { if (message.type() !== 'info') problems.push(message.text()) })
    clientPage.writeParts("'/import'")
    const { outputFiles: [bundle] } = await build({
      stdin: { contents: program, loader: 'tsx', resolveDir: clientPage.folder },
      bundle: true,
      format: 'iife',
      jsx: 'automatic',
      define: {
        'process.env.NODE_ENV': '"production"',
        __VUE_OPTIONS_API__: 'false',
        __VUE_PROD_DEVTOOLS__: 'false',
        __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: 'false'
      },
      plugins: [svelte('client')],
      write: false
    })
    await page.setContent('<main></main>')
    await page.addScriptTag({ content: bundle!.text })
    await page.waitForFunction(() => document.querySelector('main')!.textContent === 'live: 50 %')
    await page.evaluate(() => (window as unknown as { unmount: () => void }).unmount())
    t.equal(await within('the close', closed), 'client')
    t.equal(await page.textContent('main'), '')
    t.strictSame(problems, [])
  })
}

// The programs that render the parts on a server.
const RENDERERS: Record<string, string> = {
  React: `
    import { renderToString } from 'react-dom/server'
    import { Import } from './component.tsx'
    export const render = async url => renderToString(<Import url={url} />)
  `,
  Vue: `
    import { createSSRApp, h } from 'vue'
    import { renderToString } from 'vue/server-renderer'
    import { useImport } from './import.ts'
    export const render = url => renderToString(createSSRApp({
      setup () {
        const now = useImport(url)
        return () => h('p', now.status + ': ' + now.percent + ' %')
      }
    }))
  `,
  Svelte: `
    import { render as renderComponent } from 'svelte/server'
    import Import from './import.svelte'
    export const render = async url => renderComponent(Import, { props: { url } }).body
  `
}

for (const [name, program] of Object.entries(RENDERERS)) {
  t.test(`the code for ${name} opens nothing on a server`, async t => {
    const app = Fastify()
    const requests: string[] = []
    app.get('/*', async ({ url }) => { requests.push(url) })
    const address = `http://127.0.0.1:${await listen(t, app)}`
    clientPage.writeParts("'/import'")
    const outfile = resolve(clientPage.folder, `${name}.mjs`)
    await build({
      stdin: { contents: program, loader: 'tsx', resolveDir: clientPage.folder },
      bundle: true,
      format: 'esm',
      platform: 'node',
      packages: 'external',
      jsx: 'automatic',
      plugins: [svelte('server')],
      outfile
    })
    const { render } = await import(pathToFileURL(outfile).href) as { render: (url: string) => Promise<string> }
    t.match((await render(`${address}/import`)).replaceAll(/<!--.*?-->/g, ''), '<p>connecting: 0 %</p>')
    await fetch(`${address}/last`)
    t.strictSame(requests, ['/last'])
  })
}
