import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import Fastify, { type FastifyInstance } from 'fastify'
import sse from 'fastify-typed-sse'
import t from 'tap'
import assistant from '../../example/assistant/server.ts'
import { modules } from '../../example/modules.ts'
import { page as file } from '../../example/page.ts'
import messages from '../../example/tokens/messages.ts'
import { generate, type Generate } from '../../example/tokens/model.ts'
import tokens from '../../example/tokens/server.ts'
import { inBrowser, reads, shoot, Site, state, tabOf, windowOf } from './browser.ts'

t.setTimeout(300_000)

const words = ['The', ' server', ' stops', ' the', ' source', '.']

async function build (generate: Generate): Promise<FastifyInstance> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse)
  await app.register(assistant, { generate })
  await app.register(tokens, { generate })
  await app.register(messages, { generate })
  file(app, '/page.css', new URL('../../example/page.css', import.meta.url))
  modules(app)
  return app
}

const quick: Generate = (prompt, options) => generate(prompt, { ...options, interval: 0 })

async function answerTo (prompt: string): Promise<string> {
  let answer = ''
  for await (const word of quick(prompt, { limit: 1000, signal: new AbortController().signal })) answer += word
  return answer
}

t.test('the clients of the AI SDK, OpenAI and Anthropic print the answer', async t => {
  const { url } = await Site.start(t, await build(quick))
  const run = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)(process.execPath, ['--import', './test/setup/typescript.js', ...args])).stdout
  const answer = await answerTo('Why?')
  t.equal(await run('example/assistant/client.ts', url, 'Why?'), `${answer}\n`)
  t.equal(await run('example/tokens/client.ts', url, 'Why?'), `${answer}\n${answer}\n`)
  const failed = promisify(execFile)(process.execPath,
    ['--import', './test/setup/typescript.js', 'example/tokens/client.ts', 'http://127.0.0.1:1'])
  await t.rejects(failed, { message: /http:\/\/127\.0\.0\.1:1: Connection error/ })
})

t.test('a chat with an id that can be guessed is rejected', async t => {
  const app = await build(quick)
  t.teardown(() => app.close())
  t.equal((await app.inject('/api/chat/1/stream')).statusCode, 403)
})

inBrowser(t, (t, browser) => {
  t.test('a reload in the middle loses and repeats nothing; Stop ends the answer in every tab', async t => {
    const speech = { words: 3 }
    const asked: string[] = []
    const site = await Site.start(t, await build(async function * (prompt, { signal }) {
      asked.push(prompt)
      for (const [n, word] of words.entries()) {
        while (n >= speech.words) await sleep(5, undefined, { signal })
        yield word
      }
    }))
    const context = await windowOf(t, browser)
    const page = await tabOf(t, context, `${site.url}/assistant`)
    await reads(page, 'answer', 'The server stops')
    await page.reload()
    await reads(page, 'answer', 'The server stops')
    await state(page, 'open')
    const second = await tabOf(t, context, page.url())
    speech.words = 5
    for (const tab of [page, second]) await reads(tab, 'answer', 'The server stops the source')
    await shoot(t, page, 'assistant')
    await second.getByRole('button', { name: 'Stop' }).click()
    for (const tab of [page, second]) {
      await state(tab, 'stopped')
      t.equal(await tab.locator('#tokens').textContent(), '5')
    }
    speech.words = 6
    await page.getByRole('button', { name: 'Ask' }).click()
    await state(page, 'done')
    t.equal(await page.locator('#answer').textContent(), words.join(''))
    t.equal(asked.length, 2)
  })

  t.test('the page shows the error of an answer', async t => {
    const site = await Site.start(t, await build(async function * () {
      yield 'The'
      throw new Error('swordfish')
    }))
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/assistant`)
    await state(page, 'failed')
    t.equal(await page.locator('#state').textContent(), 'Internal Server Error')
    t.equal(await page.locator('#answer').textContent(), 'The')
  })
})
