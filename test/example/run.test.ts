import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'
import sse, { memoryLog } from 'fastify-typed-sse'
import { redisLog } from 'fastify-typed-sse/redis'
import t, { type Test } from 'tap'
import { page as servePage } from '../../example/page.ts'
import run from '../../example/run/server.ts'
import { generate, type Generate } from '../../example/tokens/model.ts'
import { inBrowser, reaches, reads, shoot, Site, state, tabOf, windowOf } from './browser.ts'
import { Reading } from './reading.ts'
import { unmarked } from '../setup/marks.ts'
import { absent, REDIS } from '../setup/programs.ts'
import { RedisServer } from '../setup/redis.ts'
import { until } from '../setup/until.ts'

t.setTimeout(300_000)

const ID = '0b5a9c1e-7f0e-4a55-9d8e-3f6f0f1b2c3d'
// Longer than the browser's reconnect delay here: a page that would reconnect has done so by then.
const RETRY = 50
const RECONNECT = 1_000

/** A model that yields its words when the test allows it. */
class Speaker {
  readonly prompts: string[] = []
  stopped: unknown
  #waiting: Array<() => void> = []
  #allowed = 0
  readonly #words: readonly string[]

  constructor (words: readonly string[]) {
    this.#words = words
  }

  /** Allows that many more words. */
  say (count: number): void {
    this.#allowed += count
    for (const go of this.#waiting.splice(0)) go()
  }

  generate: Generate = (prompt, { signal }) => {
    this.prompts.push(prompt)
    signal.addEventListener('abort', () => { this.stopped = signal.reason })
    return this.#speak(signal)
  }

  async * #speak (signal: AbortSignal): AsyncGenerator<string> {
    for (const [index, word] of this.#words.entries()) {
      while (this.#allowed <= index) {
        await Promise.race([new Promise<void>(resolve => { this.#waiting.push(resolve) }), once(signal, 'abort')])
        signal.throwIfAborted()
      }
      yield word
    }
  }
}

async function start (t: Test, generate: Generate, log = memoryLog()): Promise<Site> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: RETRY, eventLog: log })
  await app.register(run, { generate })
  servePage(app, '/page.css', new URL('../../example/page.css', import.meta.url))
  return Site.start(t, app)
}

function post (site: Site, prompt: string, signal: AbortSignal | null = null, id = ID): Promise<Response> {
  return fetch(`${site.url}/runs/${id}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ prompt }),
    signal
  })
}

const get = (site: Site, lastEventId?: string): Promise<Response> =>
  fetch(`${site.url}/runs/${ID}`, { headers: lastEventId === undefined ? {} : { 'last-event-id': lastEventId } })

/** The frames of a run without epoch and marks, whose place depends on timing. */
const anonymous = (wire: string): string => unmarked(wire).replace(/^id: [0-9a-z]+-/gm, 'id: ')

const WORDS = ['The', ' answer', ' is', ' "forty\ntwo"', '.']
const HEAD = `retry: ${RETRY}\n\nevent: sse.position\nid: 0\ndata: \n\n`
const HEADS = 2
const FRAMES = [
  'event: prompt\nid: 1\ndata: What is it?\n\n',
  'event: token\nid: 2\ndata: The\n\n',
  'event: token\nid: 3\ndata:  answer\n\n',
  'event: token\nid: 4\ndata:  is\n\n',
  'event: token\nid: 5\ndata:  "forty\ndata: two"\n\n',
  'event: token\nid: 6\ndata: .\n\n',
  'event: done\nid: 7\ndata: {"reason":"complete"}\n\n'
]

t.test('a POST starts the run and streams it to its end', async t => {
  const speaker = new Speaker(WORDS)
  const site = await start(t, speaker.generate)
  speaker.say(WORDS.length)
  const response = await post(site, 'What is it?')
  t.equal(response.status, 200)
  t.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  t.equal(anonymous(await response.text()), HEAD + FRAMES.join(''))
})

t.test('the run continues when the client that started it disconnects, and later clients receive all of it', async t => {
  const speaker = new Speaker(WORDS)
  const site = await start(t, speaker.generate)
  const leaving = new AbortController()
  const first = await post(site, 'What is it?', leaving.signal)
  speaker.say(2)
  await new Reading(first).frames(HEADS + 3)
  const closed = once(site.requests[0]!.response, 'close')
  leaving.abort()
  await closed
  speaker.say(3)
  t.equal(anonymous(await (await get(site)).text()), HEAD + FRAMES.join(''))
  t.equal(speaker.stopped, undefined)
})

t.test('a POST to an existing run joins it: the model is called once, with the first prompt', async t => {
  const speaker = new Speaker(WORDS)
  const site = await start(t, speaker.generate)
  const both = [post(site, 'What is it?'), post(site, 'What is it?')].map(async answer => (await answer).text())
  speaker.say(WORDS.length)
  const third = post(site, 'Something else?').then(response => response.text())
  for (const wire of await Promise.all([...both, third])) t.equal(anonymous(wire), HEAD + FRAMES.join(''))
  t.strictSame(speaker.prompts, ['What is it?'])
})

t.test('a reconnecting client receives the missed events, and 204 after the end', async t => {
  const speaker = new Speaker(WORDS)
  const site = await start(t, speaker.generate)
  speaker.say(WORDS.length)
  const wire = await (await post(site, 'What is it?')).text()
  const ids = Array.from(wire.matchAll(/^id: (.+)$/gm), match => match[1]!)
  t.equal(ids.length, FRAMES.length + 1)
  for (const [missed, id] of ids.slice(0, -1).entries()) {
    t.equal(anonymous(await (await get(site, id)).text()),
      `retry: ${RETRY}\n\nevent: sse.position\nid: ${missed}\ndata: \n\n${FRAMES.slice(missed).join('')}`,
      `after ${missed}`)
  }
  const over = await get(site, ids.at(-1))
  t.equal(over.status, 204)
  t.equal(await over.text(), '')
})

t.test('DELETE stops the model and ends the run for all clients; a second DELETE changes nothing', async t => {
  const speaker = new Speaker(WORDS)
  const site = await start(t, speaker.generate)
  const following = post(site, 'What is it?').then(response => response.text())
  speaker.say(2)
  await new Reading(await post(site, 'What is it?')).frames(HEADS + 3)
  for (const round of ['first', 'second']) {
    t.equal((await fetch(`${site.url}/runs/${ID}`, { method: 'DELETE' })).status, 204, round)
  }
  t.match(speaker.stopped, { name: 'AbortError', reason: 'channel-ended' })
  const stopped = HEAD + FRAMES.slice(0, 3).join('') + 'event: done\nid: 4\ndata: {"reason":"stopped"}\n\n'
  t.equal(anonymous(await following), stopped)
  t.equal(anonymous(await (await get(site)).text()), stopped, 'a late client, too')
  speaker.say(3)
  t.equal(anonymous(await (await post(site, 'Once more?')).text()), stopped, 'and it does not start again')
})

t.test('a failed run ends with an error event that does not reveal the reason', async t => {
  const site = await start(t, async function * () {
    yield 'The'
    throw new Error('the password is swordfish')
  })
  const wire = anonymous(await (await post(site, 'What is it?')).text())
  t.equal(wire.slice(0, wire.indexOf('event: error')), HEAD + FRAMES.slice(0, 2).join(''))
  t.match(wire, /event: error\nid: 3\ndata: \{.*"status":500.*\}\n\n$/)
  t.notMatch(wire, 'swordfish')
  t.equal(anonymous(await (await get(site)).text()), wire, 'a late client receives it, too')
})

t.test('invalid requests are rejected', async t => {
  const speaker = new Speaker(WORDS)
  const site = await start(t, speaker.generate)
  const rows = [
    { title: 'a run that nobody started', path: `/runs/${ID}`, init: {}, status: 404 },
    {
      title: 'the same, for a client that says it was there',
      path: `/runs/${ID}`,
      init: { headers: { 'last-event-id': 'abc-7' } },
      status: 404
    },
    { title: 'to stop it', path: `/runs/${ID}`, init: { method: 'DELETE' }, status: 404 },
    { title: 'a name that is no UUID', path: '/runs/1', init: {}, status: 400 },
    {
      title: 'an empty prompt',
      path: `/runs/${ID}`,
      init: { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"prompt":""}' },
      status: 400
    },
    { title: 'no prompt', path: `/runs/${ID}`, init: { method: 'POST' }, status: 400 }
  ]
  for (const { title, path, init, status } of rows) t.equal((await fetch(site.url + path, init)).status, status, title)
  t.strictSame(speaker.prompts, [])
})

t.test('on two nodes', { skip: absent(REDIS) }, async t => {
  /** The events of a run. The frames before them depend on how long Redis takes. */
  const eventsOf = (wire: string): string => anonymous(wire).slice(anonymous(wire).indexOf('event: prompt'))

  const answered = async (response: Response): Promise<void> => {
    const reading = new Reading(response)
    while (!(await reading.frames(1)).includes(' answer'));
  }

  /** Two nodes with one Redis. */
  const nodesOf = async (t: Test, generate: Generate): Promise<[Site, Site]> => {
    const redis = await RedisServer.start(t)
    return [await start(t, generate, redisLog(redis.client(t))), await start(t, generate, redisLog(redis.client(t)))]
  }

  t.test('a run that one node started is available on the other, and an unknown run is on neither', async t => {
    const speaker = new Speaker(WORDS)
    const [here, there] = await nodesOf(t, speaker.generate)
    for (const site of [here, there]) t.equal((await get(site)).status, 404)
    const first = await post(here, 'What is it?')
    speaker.say(2)
    await answered(first)
    const others = [get(there), post(there, 'Something else?')].map(async answer => (await answer).text())
    speaker.say(3)
    for (const wire of await Promise.all(others)) t.equal(eventsOf(wire), FRAMES.join(''))
    t.strictSame(speaker.prompts, ['What is it?'])
    const late = await (await get(there)).text()
    t.equal(eventsOf(late), FRAMES.join(''))
    const id = /^id: (.+-7)$/m.exec(late)![1]!
    for (const site of [here, there]) t.equal((await get(site, id)).status, 204)
  })

  t.test('a stop through the other node stops the model', async t => {
    const speaker = new Speaker(WORDS)
    const [here, there] = await nodesOf(t, speaker.generate)
    const following = (await post(here, 'What is it?')).text()
    speaker.say(2)
    await answered(await post(there, 'What is it?'))
    t.equal((await fetch(`${there.url}/runs/${ID}`, { method: 'DELETE' })).status, 204)
    const stopped = FRAMES.slice(0, 3).join('') + 'event: done\nid: 4\ndata: {"reason":"stopped"}\n\n'
    t.equal(eventsOf(await following), stopped)
    await until('the stop', () => speaker.stopped !== undefined)
    t.match(speaker.stopped, { name: 'AbortError', reason: 'channel-ended' })
    for (const site of [here, there]) {
      t.equal((await fetch(`${site.url}/runs/${ID}`, { method: 'DELETE' })).status, 204, 'once more')
      t.equal(eventsOf(await (await get(site)).text()), stopped)
    }
  })

  t.test('when several nodes receive a POST for one run at the same time, one of them starts it', async t => {
    const prompts: string[] = []
    const [here, there] = await nodesOf(t, async function * (prompt) {
      prompts.push(prompt)
      yield * WORDS
    })
    const ids = Array.from({ length: 25 }, () => randomUUID())
    await Promise.all(ids.map(async id => {
      const wires = await Promise.all(
        [here, there, here, there].map(async (site, index) => (await post(site, `${id} ${index}`, null, id)).text())
      )
      for (const wire of wires) {
        t.equal(wire.match(/^event: token$/gm)?.length, WORDS.length)
        t.equal(eventsOf(wire), eventsOf(wires[0]!), 'all see the same')
      }
    }))
    t.strictSame(prompts.map(prompt => prompt.slice(0, -2)).sort(), [...ids].sort())
  })
})

inBrowser(t, (t, browser) => {
  const words = Array.from({ length: 60 }, (_, n) => ` word${n}`)
  const upTo = (count: number): string => words.slice(0, count).join('')

  /** The requests for the run of the page. */
  const streams = (site: Site): Array<{ status: number, after: unknown, response: ServerResponse }> =>
    site.requests
      .filter(({ request }) => request.method === 'GET' && request.url!.startsWith('/runs/'))
      .map(({ request, response }) => ({
        status: response.statusCode,
        after: request.headers['last-event-id'],
        response
      })
      )

  t.test('a reload in the middle loses and repeats nothing, and a second tab shows the same', async t => {
    const speaker = new Speaker(words)
    const site = await start(t, speaker.generate)
    const context = await windowOf(t, browser)
    const page = await tabOf(t, context, `${site.url}/run`)
    speaker.say(20)
    await reads(page, 'answer', upTo(20))
    t.equal(await page.locator('#state').textContent(), 'Running')
    await page.reload()
    await reads(page, 'answer', upTo(20))
    speaker.say(20)
    await reads(page, 'answer', upTo(40))
    const second = await tabOf(t, context, page.url())
    await reads(second, 'answer', upTo(40))
    await shoot(t, page, 'run-middle')
    speaker.say(20)
    for (const tab of [page, second]) {
      await state(tab, 'done')
      t.equal(await tab.locator('#answer').textContent(), upTo(60))
      t.equal(await tab.locator('#tokens').textContent(), '60')
      t.equal(await tab.locator('#prompt').inputValue(), 'What does a browser do when the connection breaks?')
    }
    t.strictSame(speaker.prompts, ['What does a browser do when the connection breaks?'])
    await page.reload()
    await state(page, 'done')
    t.equal(await page.locator('#answer').textContent(), upTo(60), 'the history, after the end')
  })

  t.test('after a broken connection, EventSource resumes at its position', async t => {
    const speaker = new Speaker(words)
    const site = await start(t, speaker.generate)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/run`)
    for (const count of [10, 25, 40]) {
      speaker.say(10)
      await reads(page, 'answer', upTo(count))
      streams(site).at(-1)!.response.socket!.destroy()
      // Published while no client is connected.
      speaker.say(5)
      await reads(page, 'answer', upTo(count + 5))
      t.match(String(streams(site).at(-1)!.after), new RegExp(`^[0-9a-z]+-${count + 1}$`),
        `after the prompt and ${count} tokens`)
    }
    speaker.say(15)
    await state(page, 'done')
    t.equal(await page.locator('#answer').textContent(), upTo(60))
    t.equal(await page.locator('#tokens').textContent(), '60')
    t.equal(await page.locator('#reconnects').textContent(), '3')
  })

  t.test('after the end of the run, EventSource receives 204 and stops', async t => {
    const speaker = new Speaker(words)
    const site = await start(t, speaker.generate)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/run`)
    speaker.say(60)
    await state(page, 'done')
    while (streams(site).length < 2) await once(site.app.server, 'request')
    await sleep(RECONNECT)
    t.strictSame(streams(site).map(({ status }) => status), [200, 204])
    t.equal(await page.locator('#state').textContent(), 'Done')
    t.equal(await page.locator('#answer').textContent(), upTo(60))
  })

  t.test('Stop stops the run in every tab, and its model', async t => {
    const speaker = new Speaker(words)
    const site = await start(t, speaker.generate)
    const context = await windowOf(t, browser)
    const page = await tabOf(t, context, `${site.url}/run`)
    speaker.say(7)
    await reaches(page, 'tokens', 7)
    const second = await tabOf(t, context, page.url())
    await reaches(second, 'tokens', 7)
    await second.getByRole('button', { name: 'Stop' }).click()
    for (const tab of [page, second]) {
      await state(tab, 'done')
      t.equal(await tab.locator('#state').textContent(), 'Stopped')
      t.equal(await tab.locator('#answer').textContent(), upTo(7))
    }
    t.match(speaker.stopped, { name: 'AbortError', reason: 'channel-ended' })
  })

  t.test('the page shows an unknown run and a failed run', async t => {
    const site = await start(t, async function * () {
      yield 'The'
      throw new Error('swordfish')
    })
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/run#${ID}`)
    await state(page, 'closed')
    t.equal(await page.locator('#state').textContent(), 'There is no such run')
    await page.getByRole('button', { name: 'Start a run' }).click()
    await state(page, 'failed')
    t.equal(await page.locator('#state').textContent(), 'Internal Server Error')
    t.equal(await page.locator('#answer').textContent(), 'The')
  })

  t.test('the page shows that the server does not answer', async t => {
    const speaker = new Speaker(WORDS)
    const site = await start(t, speaker.generate)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/run`)
    speaker.say(1)
    await reaches(page, 'tokens', 1)
    await site.app.close()
    await state(page, 'connecting')
    t.equal(await page.getByRole('button', { name: 'Stop' }).isDisabled(), true)
    await page.getByRole('button', { name: 'Start a run' }).click()
    await reads(page, 'state', 'The server does not answer')
  })

  t.test('the stand-in for a model shows its answer word by word', async t => {
    const site = await start(t, (prompt, options) => generate(prompt, { ...options, interval: 20 }))
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/run`)
    await reaches(page, 'tokens', 5)
    await page.reload()
    await state(page, 'done')
    let whole = ''
    for await (const word of generate('What does a browser do when the connection breaks?', {
      limit: 1000,
      signal: new AbortController().signal
    })) whole += word
    t.equal(await page.locator('#answer').textContent(), whole)
    await shoot(t, page, 'run')
  })
})
