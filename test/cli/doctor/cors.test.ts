import t from 'tap'
import { cors } from '../../../lib/cli/doctor/cors.ts'
import { examined, found, seen, type Sight } from '../../setup/seen.ts'

const ORIGIN = 'https://app.example'
const ALLOWED = { 'access-control-allow-origin': ORIGIN, 'access-control-allow-credentials': 'true' }
const ASKED = { ...ALLOWED, 'access-control-allow-headers': 'Authorization, Last-Event-ID' }

async function corsOf (answer: Record<string, string>, preflight: Sight = { status: 204, headers: ASKED }) {
  const [probe] = cors(
    await examined({
      page: { origin: ORIGIN, answer: await seen({ headers: answer }), preflight: await seen(preflight) }
    })
  )
  return probe!
}

t.test('without --browser-origin there is no probe', async t => {
  t.strictSame(cors(await examined()), [])
})

t.test('a page with access, cookies and reconnection has no findings', async t => {
  t.strictSame(await corsOf(ALLOWED), {
    name: 'CORS',
    mark: 'ok',
    summary: `${ORIGIN}: ${ORIGIN} allowed, with cookies`,
    findings: []
  })
})

t.test('a page without access is a problem', async t => {
  t.match(found(await corsOf({})), [
    /^problem: There is no access-control-allow-origin: a page of https:\/\/app\.example cannot/
  ])
  t.match(found(await corsOf({ 'access-control-allow-origin': 'https://other.example' })), [
    /^problem: access-control-allow-origin is https:\/\/other\.example/
  ])
})

t.test('cookies need credentials, and no asterisk', async t => {
  t.match(found(await corsOf({ 'access-control-allow-origin': ORIGIN })), [
    /^note: An EventSource with withCredentials fails/
  ])
  t.match(await corsOf({ ...ALLOWED, 'access-control-allow-origin': '*' }), {
    summary: `${ORIGIN}: * allowed, without cookies`,
    findings: [{ mark: 'note' }]
  })
})

t.test('the preflight limits the headers of a client based on fetch', async t => {
  t.match(found(await corsOf(ALLOWED, { status: 404 })), [/^warning: The preflight is rejected \(404\)/])
  t.match(found(await corsOf(ALLOWED, { head: false })), [/^warning: The preflight is rejected \(no response\)/])
  t.match(found(await corsOf(ALLOWED, { status: 204, headers: {} })), [/^warning: The preflight is rejected \(204\)/])
  t.match(found(await corsOf(ALLOWED, { status: 100, headers: ASKED })), [
    /^warning: The preflight is rejected \(100\)/
  ])
  t.match(found(await corsOf(ALLOWED, { status: 200, headers: ALLOWED })), [
    'warning: The preflight does not allow last-event-id and authorization: a client based on fetch cannot send them.'
  ])
  t.match(
    found(
      await corsOf(ALLOWED, {
        status: 200,
        headers: { ...ALLOWED, 'access-control-allow-origin': '*', 'access-control-allow-headers': '*' }
      })
    ),
    ['warning: The preflight does not allow authorization: a client based on fetch cannot send it.']
  )
})
