import Fastify from 'fastify'
import sse from 'fastify-typed-sse'
import type { Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { page as servePage } from '../../example/page.ts'
import presence, { options } from '../../example/presence/server.ts'
import { SharedStore } from '../setup/shared-store.ts'
import { until } from '../setup/until.ts'
import { inBrowser, reads, shoot, Site, state, tabOf, windowOf } from './browser.ts'
import { Reading } from './reading.ts'

t.setTimeout(300_000)

async function start (t: Test, store = new SharedStore()): Promise<Site> {
  const app = Fastify({ forceCloseConnections: true })
  await app.register(sse, { retry: 50, eventLog: store.node().open })
  await app.register(presence)
  servePage(app, '/page.css', new URL('../../example/page.css', import.meta.url))
  return Site.start(t, app)
}

const channelOf = (site: Site, document: string) => site.app.sse.channel(`document:${document}`, options)

t.test('the visitors of a document on all nodes see each other', async t => {
  const store = new SharedStore()
  const [one, two] = [await start(t, store), await start(t, store)]
  const ann = await Reading.open(t, `${one.url}/presence/plan/events?name=Ann`)
  t.match(await ann.frames(3), /^retry: 50\n\n.*"members":\[\].*event: join\n.*{"member":"Ann"}/s)
  const bob = await Reading.open(t, `${two.url}/presence/plan/events?name=Bob`)
  t.match(await bob.frames(3), /"members":\["Ann"\].*{"member":"Bob"}/s)
  t.match(await ann.frames(1), /^event: join\n.*{"member":"Bob"}/s)
  await fetch(`${two.url}/presence/plan/waves`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'Bob' })
  })
  t.match(await ann.frames(1), /^event: wave\n.*{"name":"Bob"}/s)
  await two.app.close()
  t.match(await ann.frames(1), /^event: leave\n.*{"member":"Bob"}/s)
  t.strictSame(await channelOf(one, 'plan').members(), ['Ann'])
  t.strictSame(await channelOf(one, 'menu').members(), [])
})

t.test('an invalid document or name is rejected, and joins nothing', async t => {
  const site = await start(t)
  for (const path of ['Plan/events?name=Ann', 'plan/events', 'plan/events?name=', 'plan/events?name=%20',
    'plan/events?name=a%0Ab', `plan/events?name=${'a'.repeat(41)}`]) {
    t.equal((await fetch(`${site.url}/presence/${path}`)).status, 400, path)
  }
  t.strictSame(await channelOf(site, 'plan').members(), [])
})

inBrowser(t, (t, browser) => {
  const names = (page: Page): Promise<string[]> => page.locator('#members li').allTextContents()
  const shows = (page: Page, ...expected: string[]): Promise<void> =>
    until(expected.join(), async () => (await names(page)).join() === expected.join())

  t.test('tabs see each other come and go, and a reconnect shows the same members', async t => {
    const site = await start(t)
    const context = await windowOf(t, browser)
    const ann = await tabOf(t, context, `${site.url}/presence?name=Ann`)
    await state(ann, 'open')
    await shows(ann, 'Ann')
    const [bob, again] = [await tabOf(t, context, `${site.url}/presence?name=Bob`),
      await tabOf(t, context, `${site.url}/presence?name=Bob`)]
    await shows(ann, 'Ann', 'Bob')
    await shows(bob, 'Ann', 'Bob')
    await again.close()
    await bob.getByRole('button', { name: 'Wave' }).click()
    await ann.locator('#log li', { hasText: 'waves' }).waitFor()
    await shoot(t, ann, 'presence')
    site.gets('/presence/plan/events?name=Ann')[0]!.response.socket!.destroy()
    await until('Ann leaves, and returns', async () => /AnnleavesAnnjoins$/.test(
      (await bob.locator('#log li').allTextContents()).join('')))
    await shows(ann, 'Ann', 'Bob')
    await bob.close()
    await shows(ann, 'Ann')
    t.strictSame((await ann.locator('#log li').allTextContents()).filter(text => /Bob/.test(text)),
      ['Bobjoins', 'Bobwaves', 'Bobleaves'])
    await ann.locator('#name').fill('Anna')
    await ann.getByRole('button', { name: 'Rename' }).click()
    await shows(ann, 'Anna')
    await reads(ann, 'count', '1')
    t.strictSame(await channelOf(site, 'plan').members(), ['Anna'])
    await ann.getByRole('link', { name: 'menu' }).click()
    await shows(ann, 'Anna')
    await until('the other document is empty', async () => (await channelOf(site, 'plan').members()).length === 0)
  })

  t.test('the page shows that there is no such document', async t => {
    const site = await start(t)
    const page = await tabOf(t, await windowOf(t, browser), `${site.url}/presence?document=No%20document`)
    await state(page, 'closed')
    t.equal(await page.locator('#state').textContent(), 'No such document')
  })
})
