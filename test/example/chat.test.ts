import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import chat, { options } from '../../example/chat/server.ts'
import { page as servePage } from '../../example/page.ts'
import { inBrowser, reaches, shoot, Site, state, tabOf, windowOf } from './browser.ts'
import { Reading } from './reading.ts'

t.setTimeout(300_000)

const RETRY = 50
const HEAD = `retry: ${RETRY}\n\n`

async function start (t: Test): Promise<Site> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: RETRY })
  await app.register(chat)
  servePage(app, '/page.css', new URL('../../example/page.css', import.meta.url))
  return Site.start(t, app)
}

const post = (site: Site, room: string, body: unknown): Promise<Response> =>
  fetch(`${site.url}/chat/${room}/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body)
  })

/** Sends a message. Resolves to its id. */
async function say (site: Site, room: string, name: string, text: string): Promise<string> {
  const response = await post(site, room, { name, text })
  if (response.status !== 201) throw new Error(`refused with ${response.status}`)
  return (await response.json() as { id: string }).id
}

const join = (t: Test, site: Site, room: string, lastEventId?: string): Promise<Reading> =>
  Reading.open(t, `${site.url}/chat/${room}/events`, lastEventId)

const withoutTime = (wire: string): string => wire.replace(/,"at":\d{13}\}/g, '}')
const frame = (offset: number, name: string, text: string): string =>
  `id: ${offset}\ndata: ${JSON.stringify({ name, text })}\n\n`

t.test('all clients in a room receive its messages in one order, with the time; other rooms do not', async t => {
  const site = await start(t)
  const [ann, bob, other] = [await join(t, site, 'lobby'), await join(t, site, 'lobby'), await join(t, site, 'garden')]
  const before = Date.now()
  await Promise.all(
    Array.from({ length: 20 }, (_, n) => say(site, 'lobby', n % 2 === 0 ? 'Ann' : 'Bob', `message ${n}`))
  )
  await say(site, 'garden', 'Eve', 'alone')
  const seen = await ann.frames(2 + 20)
  t.equal(await bob.frames(2 + 20), seen)
  t.equal(seen.slice(0, seen.indexOf('data: {')), `${HEAD}event: sse.position\nid: 0\ndata: \n\nid: 1\n`)
  const messages = Array.from(seen.matchAll(/^data: (.+)$/gm),
    match => JSON.parse(match[1]!) as { text: string, at: number })
  t.strictSame(messages.map(({ text }) => text).sort(), Array.from({ length: 20 }, (_, n) => `message ${n}`).sort())
  t.ok(messages.every(({ at }) => at >= before && at <= Date.now()))
  t.equal(withoutTime(await other.frames(3)),
    `${HEAD}event: sse.position\nid: 0\ndata: \n\n${frame(1, 'Eve', 'alone')}`)
})

t.test('a client that joins late receives the history, then new messages', async t => {
  const site = await start(t)
  await say(site, 'lobby', 'Ann', 'first')
  await say(site, 'lobby', 'Ann', 'second')
  const late = await join(t, site, 'lobby')
  t.equal(withoutTime(await late.frames(4)),
    `${HEAD}event: sse.position\nid: 0\ndata: \n\n${frame(1, 'Ann', 'first')}${frame(2, 'Ann', 'second')}`)
  await say(site, 'lobby', 'Bob', 'third')
  t.equal(withoutTime(await late.frames(1)), frame(3, 'Bob', 'third'))
})

t.test('a reconnecting client receives exactly the messages that it missed', async t => {
  const site = await start(t)
  const id = await say(site, 'lobby', 'Ann', 'seen')
  await say(site, 'lobby', 'Ann', 'missed')
  const back = await join(t, site, 'lobby', id)
  t.equal(withoutTime(await back.frames(3)),
    `${HEAD}event: sse.position\nid: 1\ndata: \n\n${frame(2, 'Ann', 'missed')}`)
})

t.test('a room keeps its last hundred messages; a client that joins later, or brings an id of another room, gets a gap or a reset', async t => {
  const site = await start(t)
  const elsewhere = await say(site, 'garden', 'Ann', 'elsewhere')
  for (let n = 1; n <= 101; n++) await say(site, 'lobby', 'Ann', String(n))
  const messages = Array.from({ length: 100 }, (_, index) => frame(index + 2, 'Ann', String(index + 2))).join('')
  const cases = [[undefined, 'sse.gap', '{"dropped":1}'], [elsewhere, 'sse.reset',
    '{"reason":"unknown","oldest":2,"newest":101}']] as const
  for (const [lastEventId, event, data] of cases) {
    const reading = await join(t, site, 'lobby', lastEventId)
    t.equal(withoutTime(await reading.frames(102)), `${HEAD}event: ${event}\nid: 1\ndata: ${data}\n\n${messages}`,
      event)
  }
})

t.test('an invalid room or message is rejected', async t => {
  const site = await start(t)
  for (const room of ['Lobby', 'a%20b', 'a%0Ab', 'a'.repeat(33), '..%2Flobby']) {
    t.equal((await fetch(`${site.url}/chat/${room}/events`)).status, 400, room)
    t.equal((await post(site, room, { name: 'Ann', text: 'hello' })).status, 400, room)
  }
  for (const body of [{}, { name: 'Ann' }, { name: 'Ann', text: '' }, { name: ' ', text: 'x' }, {
    name: 'Ann',
    text: ' \n'
  }, { name: 'Ann', text: 'x'.repeat(1001) }]) {
    t.equal((await post(site, 'lobby', body)).status, 400, JSON.stringify(body).slice(0, 40))
  }
})

t.test('a message cannot forge another message or any other part of the stream', async t => {
  const site = await start(t)
  const reading = await join(t, site, 'lobby')
  const text = 'x\n\ndata: {"name":"Bob","text":"forged"}\r\n\r\nevent: sse.reset\rdata: 1\u2028</script>'
  await post(site, 'lobby', { name: 'Ann', text, at: 1, admin: true })
  await say(site, 'lobby', 'Ann', 'next')
  t.equal(withoutTime(await reading.frames(4)),
    `${HEAD}event: sse.position\nid: 0\ndata: \n\n${frame(1, 'Ann', text)}${frame(2, 'Ann', 'next')}`)
})

inBrowser(t, (t, browser) => {
  const lines = async (page: Page): Promise<string[]> => page.locator('#log li').evaluateAll(lines =>
    lines.map(line => `${line.querySelector('b')!.textContent}: ${line.querySelector('span')!.textContent}`))
  const send = async (page: Page, name: string, text: string): Promise<void> => {
    await page.locator('#name').fill(name)
    await page.locator('#text').fill(text)
    await page.getByRole('button', { name: 'Send' }).click()
    await page.locator('#text:placeholder-shown').waitFor()
  }

  t.test('two tabs see one order, and a third that joins late sees it, too', async t => {
    const site = await start(t)
    const context = await windowOf(t, browser)
    const [ann, bob] = [await tabOf(t, context, `${site.url}/chat`), await tabOf(t, context, `${site.url}/chat`)]
    await state(ann, 'open')
    await state(bob, 'open')
    await send(ann, 'Ann', 'Is anybody here?')
    await send(bob, 'Bob', 'I am. <b>Hello</b> & welcome!')
    await Promise.all([send(ann, 'Ann', 'At the same time'), send(bob, 'Bob', 'At the same time, too')])
    await reaches(ann, 'messages', 4)
    await reaches(bob, 'messages', 4)
    const seen = await lines(ann)
    t.strictSame(seen.slice(0, 2), ['Ann: Is anybody here?', 'Bob: I am. <b>Hello</b> & welcome!'])
    t.strictSame(seen.slice(2).sort(), ['Ann: At the same time', 'Bob: At the same time, too'])
    t.strictSame(await lines(bob), seen)
    const late = await tabOf(t, context, `${site.url}/chat?room=lobby`)
    await reaches(late, 'messages', 4)
    t.strictSame(await lines(late), seen)
    await shoot(t, late, 'chat')
    await late.getByRole('link', { name: 'garden' }).click()
    await state(late, 'open')
    t.strictSame(await lines(late), [])
    await shoot(t, late, 'chat-empty')
  })

  t.test('after a broken connection, EventSource reconnects and receives the missed messages or the history', async t => {
    const site = await start(t)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/chat?room=kitchen`)
    const stream = () => site.gets('/chat/kitchen/events').at(-1)!.response
    await state(page, 'open')
    await send(page, 'Ann', 'one')
    await reaches(page, 'messages', 1)
    // All at once, before the browser reconnects.
    const say = (texts: string[]): void => {
      const room = site.app.sse.channel('chat:kitchen', options)
      for (const text of texts) room.publish({ data: { name: 'Bob', text, at: Date.now() } })
    }
    stream().socket!.destroy()
    say(['two', 'three'])
    await reaches(page, 'messages', 3)
    t.strictSame(await lines(page), ['Ann: one', 'Bob: two', 'Bob: three'])

    stream().socket!.destroy()
    say(Array.from({ length: 120 }, (_, n) => `more ${n}`))
    await page.locator('#log li:last-child span:text-is("more 119")').waitFor()
    t.strictSame(await lines(page), Array.from({ length: 100 }, (_, n) => `Bob: more ${n + 20}`),
      'not with a hole in it')
    t.equal(await page.locator('#reconnects').textContent(), '2')
  })

  t.test('the page shows that the room does not exist', async t => {
    const site = await start(t)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/chat?room=No%20room`)
    await state(page, 'closed')
    t.equal(await page.locator('#state').textContent(), 'No such room')
    t.equal(await page.locator('#form').isVisible(), false)
  })

  t.test('the page shows why a message is not sent, and keeps it', async t => {
    const site = await start(t)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/chat`)
    await state(page, 'open')
    const refused = async (text: string, why: string): Promise<void> => {
      await page.locator('#text').fill(text)
      await page.getByRole('button', { name: 'Send' }).click()
      await page.waitForFunction(
        why => (document.getElementById('text') as HTMLInputElement).validationMessage.includes(why),
        why
      )
      t.equal(await page.locator('#text').inputValue(), text, 'it is not lost')
    }
    // The page itself would not accept this text.
    await page.locator('#text').evaluate((text: HTMLInputElement) => { text.maxLength = 2_000 })
    await refused('x'.repeat(1_500), 'body/text must NOT have more than 1000 characters')
    await site.app.close()
    await refused('hello', 'the server does not answer')
  })
})
