import Fastify, { type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { guard, isStillAuthorized, rejectCrossSite, type Authorize } from '../../lib/inspector/guard.ts'

async function make (t: Test, authorize: Authorize) {
  const app = Fastify()
  t.teardown(() => app.close())
  guard(app, authorize)
  app.get('/', async () => 'seen')
  return app
}

t.test('if authorize does not return true, the answer is 403 and the handler does not run', async t => {
  const answers: unknown[] = [false, undefined, null, 'yes', 1, {}, Promise.resolve(false)]
  t.ok(answers.length > 0)
  for (const answer of answers) {
    const response = await (await make(t, () => answer as boolean)).inject('/')
    t.equal(response.statusCode, 403)
    t.match(response.json(), { code: 'FST_SSE_FORBIDDEN' })
  }
  for (const answer of [true, Promise.resolve(true)]) {
    t.equal((await (await make(t, () => answer)).inject('/')).body, 'seen')
  }
})

t.test('an error that authorize throws is the answer', async t => {
  const response = await (await make(t, async () => {
    throw Object.assign(new Error('Log in first'), { statusCode: 401 })
  })).inject('/')
  t.equal(response.statusCode, 401)
  t.match(response.json(), { message: 'Log in first' })
})

t.test('an open stream is revoked by a result other than true, or by a thrown 401 or 403, and by no other error', async t => {
  const request = {} as FastifyRequest
  const thrown = (statusCode?: number) => async (): Promise<boolean> => {
    throw Object.assign(new Error('thrown'), { statusCode })
  }
  t.equal(await isStillAuthorized(request, () => true), true)
  t.equal(await isStillAuthorized(request, () => 'yes' as unknown as boolean), false)
  for (const statusCode of [401, 403]) t.equal(await isStillAuthorized(request, thrown(statusCode)), false)
  for (const statusCode of [undefined, 503]) {
    await t.rejects(isStillAuthorized(request, thrown(statusCode)), { message: 'thrown' })
  }
})

t.test('authorize runs after the hooks of the surrounding app', async t => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.addHook('preHandler', async request => { Object.assign(request, { user: 'alice' }) })
  await app.register(async scope => {
    guard(scope, request => (request as FastifyRequest & { user?: string }).user === 'alice')
    scope.get('/', async () => 'seen')
  })
  t.equal((await app.inject('/')).body, 'seen')
})

t.test('the headers forbid frames, sniffing and content from other origins', async t => {
  const { headers } = await (await make(t, () => true)).inject('/')
  t.match(headers['content-security-policy'], /default-src 'none'; script-src 'self'; .*frame-ancestors 'none'/)
  t.equal(headers['x-content-type-options'], 'nosniff')
  t.equal(headers['cross-origin-resource-policy'], 'same-origin')
})

t.test('an action requires the X-Requested-With header, and is rejected if Sec-Fetch-Site names another site', async t => {
  const check = (headers: Record<string, string>): void => rejectCrossSite({ headers } as unknown as FastifyRequest)
  check({ 'x-requested-with': 'inspector' })
  check({ 'x-requested-with': 'inspector', 'sec-fetch-site': 'same-origin' })
  const rejected: Array<Record<string, string>> = [
    {},
    { 'sec-fetch-site': 'same-origin' },
    { 'x-requested-with': 'XMLHttpRequest' },
    ...['cross-site', 'same-site', 'none'].map(site => ({ 'x-requested-with': 'inspector', 'sec-fetch-site': site }))
  ]
  for (const headers of rejected) {
    t.throws(() => check(headers), { code: 'FST_SSE_FORBIDDEN', statusCode: 403 }, JSON.stringify(headers))
  }
})
