import t from 'tap'
import { toLogError } from '../../../lib/log/redis/log-error.ts'

const reply = (message: string): Error => Object.assign(new Error(message), { name: 'ReplyError' })

const cases: Array<[cause: unknown, code: string, message: RegExp]> = [
  [reply('ENDED the channel has ended'), 'FST_SSE_CHANNEL_ENDED', /ended/],
  [reply('FOREIGN the key is of another kind'), 'FST_SSE_LOG_FOREIGN', /'news' hold other data/],
  [reply('NEWER the keys are of version 2'), 'FST_SSE_LOG_FOREIGN', /'news' are of a newer version/],
  [reply('UNPUBLISHABLE NOPERM this user has no permissions'), 'FST_SSE_LOG_UNAVAILABLE',
    /'news' needs the right to publish: nothing was appended$/],
  [reply("OOM command not allowed when used memory > 'maxmemory'."), 'FST_SSE_LOG_UNAVAILABLE',
    /'news' has no memory left: nothing was appended$/],
  [reply('ERR unknown command'), 'FST_SSE_LOG_UNAVAILABLE', /'news' cannot be used$/],
  [new Error('Connection is closed.'), 'FST_SSE_LOG_UNAVAILABLE', /'news' cannot be used$/],
  ['text', 'FST_SSE_LOG_UNAVAILABLE', /'news' cannot be used$/]
]
for (const [cause, code, message] of cases) {
  t.test(`${String(cause)} is ${code}`, async t => {
    const error = toLogError('news', cause)
    t.match(error, { code, message })
    t.equal(error.cause, cause)
    t.notMatch(error.message, /NOPERM|maxmemory|unknown command/, 'the message of Redis is not sent to clients')
  })
}
