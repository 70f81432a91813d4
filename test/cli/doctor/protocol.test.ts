import t from 'tap'
import { protocol } from '../../../lib/cli/doctor/protocol.ts'
import { examined, found, STREAM } from '../../setup/seen.ts'

t.test('over HTTP/2 there is nothing to say', async t => {
  t.strictSame(protocol(await examined({ base: { version: '2' } })), { name: 'protocol', mark: 'ok', summary: 'HTTP/2', findings: [] })
})

t.test('over HTTP/1.1 a browser has six connections: with TLS that can be changed', async t => {
  t.match(protocol(await examined({ alpn: 'http/1.1' })), { mark: 'warning', summary: 'HTTP/1.1, HTTP/2 is not offered', findings: [{ text: /six connections/, setting: /http2 on/ }] })
  t.match(protocol({ ...await examined(), alpn: undefined }), { mark: 'note', summary: 'HTTP/1.1, without TLS', findings: [{ text: /six connections.*over TLS alone/ }] })
})

t.test('HTTP/1.0, and connections that serve one request', async t => {
  t.match(found(protocol(await examined({ base: { version: '1.0' } }))), [/^warning: The answer is HTTP\/1\.0/])
  t.match(found(protocol(await examined({ base: { headers: { ...STREAM, connection: 'close' } } }))), [/^warning: connection: close/])
  t.match(protocol(await examined({ base: { head: false } })), { mark: 'ok', summary: 'no answer', findings: [] })
})
