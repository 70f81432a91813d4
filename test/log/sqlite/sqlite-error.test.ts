import t from 'tap'
import { FST_SSE_CHANNEL_ENDED } from '../../../lib/errors.ts'
import { sqliteCode, toLogError } from '../../../lib/log/sqlite/sqlite-error.ts'

t.test('E1: the result code of SQLite is found in the errors of each driver', t => {
  const codes: Array<[error: unknown, code: string | undefined]> = [
    [{ code: 'ERR_SQLITE_ERROR', errcode: 5 }, 'BUSY'],
    [{ code: 'ERR_SQLITE_ERROR', errcode: 1555 }, 'ERROR'],
    [{ code: 'ERR_SQLITE_ERROR', errcode: 13 }, 'FULL'],
    [{ code: 'SQLITE_BUSY', rawCode: 5 }, 'BUSY'],
    [{ code: 'SQLITE_READONLY_DBMOVED' }, 'READONLY'],
    [{ code: 'ENOENT' }, undefined],
    [{ code: '' }, undefined],
    [{}, undefined],
    [undefined, undefined],
    ['SQLITE_BUSY', undefined]
  ]
  for (const [error, code] of codes) t.equal(sqliteCode(error), code)
  t.end()
})

t.test('E1: an error of SQLite gets a code and a message for clients, and is its cause', t => {
  const messages: Array<[code: string, message: RegExp]> = [
    ['SQLITE_FULL', /'news' has no space left: nothing was written$/],
    ['SQLITE_READONLY', /'news' cannot be written$/],
    ['SQLITE_IOERR_WRITE', /'news' cannot be used$/]
  ]
  for (const [code, message] of messages) {
    const cause = { code }
    t.match(toLogError('news', cause), { code: 'FST_SSE_LOG_UNAVAILABLE', statusCode: 503, message, cause })
  }
  const ended = new FST_SSE_CHANNEL_ENDED()
  t.equal(toLogError('news', ended), ended)
  t.match(toLogError('news', new Error('closed')), { code: 'FST_SSE_LOG_UNAVAILABLE' })
  t.end()
})
