import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { guard, mayGoOn, refuseOthers, type Authorize } from '../../lib/inspector/guard.ts'

async function make (t: Test, authorize: Authorize) {
  const app = Fastify()
  t.teardown(() => app.close())
  guard(app, authorize)
  app.get('/', async () => 'seen')
  return app
}

t.test('whom authorize does not answer true gets 403, and nothing is run', async t => {
  const answers: unknown[] = [false, undefined, null, 'yes', 1, {}, Promise.resolve(false)]
  t.ok(answers.length > 0)
  for (const answer of answers) {
    const response = await (await make(t, () => answer as boolean)).inject('/')
    t.equal(response.statusCode, 403)
    t.match(response.json(), { code: 'FST_SSE_FORBIDDEN' })
  }
  for (const answer of [true, Promise.resolve(true)]) t.equal((await (await make(t, () => answer)).inject('/')).body, 'seen')
})

t.test('what authorize throws is the answer', async t => {
  const response = await (await make(t, async () => { throw Object.assign(new Error('Log in first'), { statusCode: 401 }) })).inject('/')
  t.equal(response.statusCode, 401)
  t.match(response.json(), { message: 'Log in first' })
})

t.test('a stream goes on while authorize answers true, ends with a no, thrown or not, and with nothing else', async t => {
  const request = {} as FastifyRequest
  const thrown = (statusCode?: number) => async (): Promise<boolean> => { throw Object.assign(new Error('thrown'), { statusCode }) }
  t.equal(await mayGoOn(request, () => true), true)
  t.equal(await mayGoOn(request, () => 'yes' as unknown as boolean), false)
  for (const statusCode of [401, 403]) t.equal(await mayGoOn(request, thrown(statusCode)), false)
  for (const statusCode of [undefined, 503]) await t.rejects(mayGoOn(request, thrown(statusCode)), { message: 'thrown' })
})

t.test('it is asked after the hooks of the app, whatever they are', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('preHandler', async request => { Object.assign(request, { user: 'alice' }) })
  await app.register(async scope => {
    guard(scope, request => (request as FastifyRequest & { user?: string }).user === 'alice')
    scope.get('/', async () => 'seen')
  })
  t.equal((await app.inject('/')).body, 'seen')
})

t.test('nothing of it may be framed, sniffed, or load from elsewhere', async t => {
  const { headers } = await (await make(t, () => true)).inject('/')
  t.match(headers['content-security-policy'], /default-src 'none'; script-src 'self'; .*frame-ancestors 'none'/)
  t.equal(headers['x-content-type-options'], 'nosniff')
  t.equal(headers['cross-origin-resource-policy'], 'same-origin')
})

t.test('an action takes a header that pages of other sites cannot send, and no word of the browser that it is one', async t => {
  const asked = (headers: Record<string, string>): void => refuseOthers({ headers } as unknown as FastifyRequest)
  asked({ 'x-requested-with': 'inspector' })
  asked({ 'x-requested-with': 'inspector', 'sec-fetch-site': 'same-origin' })
  const refused: Array<Record<string, string>> = [
    {},
    { 'sec-fetch-site': 'same-origin' },
    { 'x-requested-with': 'XMLHttpRequest' },
    ...['cross-site', 'same-site', 'none'].map(site => ({ 'x-requested-with': 'inspector', 'sec-fetch-site': site }))
  ]
  for (const headers of refused) t.throws(() => asked(headers), { code: 'FST_SSE_FORBIDDEN', statusCode: 403 }, JSON.stringify(headers))
})
