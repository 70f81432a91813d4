import t from 'tap'
import type { AppendBatches, ChannelAppend } from '../../../lib/log/redis/append-batches.ts'
import { ChannelAppends } from '../../../lib/log/redis/channel-appends.ts'
import type { Commands } from '../../../lib/log/redis/commands.ts'
import { numbered } from '../../setup/remote-log.ts'

const KNOWN = { epoch: 'abc', offset: 7, appendedAt: '12', secret: 's' }

/** Answers each append with a line. */
function make (line: string): { appends: ChannelAppends, sent: ChannelAppend[] } {
  const sent: ChannelAppend[] = []
  const batches = {
    add: async (append: ChannelAppend) => {
      sent.push(append)
      return line
    }
  } as unknown as AppendBatches
  const context = { batches, commands: {} as Commands, publish: 'PUBLISH', db: 0, secret: 's' } as const
  return { appends: new ChannelAppends('name', ['{name}', '{name}:events'], [10, 100, -1, ''], context), sent }
}

t.test('the first append checks the right to publish, and those of the next minute do not', async t => {
  const { appends, sent } = make('8-13')
  let time = 0
  t.intercept(performance, 'now', { value: () => time })
  for (const at of [0, 59_999, 60_000]) {
    time = at
    t.strictSame(await appends.append([{ record: numbered(1), key: undefined }], KNOWN, () => true),
      { epoch: 'abc', newest: 8, appendedAt: '13', secret: 's', offsets: undefined })
  }
  t.strictSame(sent.map(({ args }) => args[1]), ['10 100 -1  1 0 1', '10 100 -1  0 0 1', '10 100 -1  1 0 1'])
  t.strictSame(sent[0]!.args, ['abc 7 12', '10 100 -1  1 0 1', 'message', 'json', '1'])
})

t.test('each record with a key names its key', async t => {
  const { appends, sent } = make('=abc 9 13 s 8 9 -3')
  const records = [undefined, 'one', 'two'].map((key, n) => ({ record: numbered(n), key }))
  t.strictSame((await appends.append(records, KNOWN, () => true)).offsets, [8, 9, -3])
  t.match(sent, [{
    keys: ['{name}', '{name}:events', '{name}:key:one', '{name}:key:two'],
    args: ['abc 7 12', '10 100 -1  1 2 3', 'message', 'json', '0', '', 'message', 'json', '1', '3', 'message', 'json', '2', '4'],
    records: 3,
    size: 3
  }])
})

t.test('another answer rejects', async t => {
  const { appends } = make('hello')
  await t.rejects(appends.append([{ record: numbered(1), key: undefined }], KNOWN, () => true), {
    code: 'FST_SSE_LOG_UNAVAILABLE',
    cause: { message: /something else/ }
  })
})
