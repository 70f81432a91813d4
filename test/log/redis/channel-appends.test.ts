import t from 'tap'
import type { AppendBatches, AppendCommand } from '../../../lib/log/redis/append-batches.ts'
import type { QueuedRecord } from '../../../lib/log/redis/append-queue.ts'
import { ChannelAppends } from '../../../lib/log/redis/channel-appends.ts'
import type { Commands } from '../../../lib/log/redis/commands.ts'
import { numbered } from '../../setup/remote-log.ts'

const KNOWN = { epoch: 'abc', offset: 7, appendedAt: '12', secret: 's' }

interface Made {
  /** The records that the log has. */
  records: QueuedRecord[]
  /** The arguments of all calls. */
  calls: unknown[]
  addTo: () => AppendCommand | false
  appends: ChannelAppends
}

function make (): Made {
  const records: QueuedRecord[] = []
  const calls: unknown[] = []
  const log = {
    known: KNOWN,
    isWanted: true,
    take: () => records.splice(0),
    appended: (reply: unknown, known: unknown) => { calls.push(reply, known) },
    reject: (error: unknown) => { calls.push(error) }
  }
  const batches = { add: (source: unknown) => { calls.push(source) } } as unknown as AppendBatches
  const context = { batches, commands: {} as Commands, publish: 'PUBLISH', db: 0, secret: 's' } as const
  const appends = new ChannelAppends('name', ['{name}', '{name}:events'], [10, 100, -1, ''], context, log)
  const addTo = (): AppendCommand | false => {
    const command = { keys: ['receipt'], keyed: ['other'], args: [1], records: 2, size: 3 }
    return appends.addTo(command) && command
  }
  return { records, calls, addTo, appends }
}

const plain = (n: number, key?: string): QueuedRecord => ({ record: numbered(n), key })

t.test('a request takes the records that the log has when the command is made', async t => {
  const { records, calls, addTo, appends } = make()
  appends.request()
  t.strictSame(calls, [appends])
  t.equal(appends.isWanted, true)
  t.equal(addTo(), false, 'no caller waits any more')
  records.push(plain(1), plain(2))
  t.strictSame(addTo(), {
    keys: ['receipt', '{name}', '{name}:events'],
    keyed: ['other'],
    args: [1, 'abc 7 12', '10 100 -1  1 0 2', 'message', 'json', '1', 'message', 'json', '2'],
    records: 4,
    size: 5
  })
  appends.answered('9-13')
  t.strictSame(calls.slice(1), [{ epoch: 'abc', newest: 9, appendedAt: '13', secret: 's', offsets: undefined }, KNOWN])
})

t.test('the first append checks the right to publish, and those of the next minute after its answer do not', async t => {
  const { records, addTo, appends } = make()
  let time = 0
  t.intercept(performance, 'now', { value: () => time })
  const terms: unknown[] = []
  for (const [at, answer] of [[0, ''], [1, '8-13'], [60_000, '8-13'], [60_001, '8-13']] as const) {
    time = at
    records.push(plain(1))
    const command = addTo()
    terms.push(command && command.args[2])
    if (answer === '') appends.failed(new Error('offline'))
    else appends.answered(answer)
  }
  t.strictSame(terms, ['10 100 -1  1 0 1', '10 100 -1  1 0 1', '10 100 -1  0 0 1', '10 100 -1  1 0 1'])
})

t.test('each record with a key names its key', async t => {
  const { records, calls, addTo, appends } = make()
  records.push(plain(0), plain(1, 'one'), plain(2, 'two'))
  t.match(addTo(), {
    keys: ['receipt', '{name}', '{name}:events'],
    keyed: ['other', '{name}:key:one', '{name}:key:two'],
    args: [1, 'abc 7 12', '10 100 -1  1 2 3', 'message', 'json', '0', '', 'message', 'json', '1', '3', 'message', 'json', '2',
      '4']
  })
  appends.answered('=abc 9 13 s 8 9 -3')
  t.match(calls[0], { offsets: [8, 9, -3] })
})

t.test('an error and another answer reject', async t => {
  const { records, calls, addTo, appends } = make()
  for (const end of [() => appends.answered('hello'), () => appends.failed(new Error('offline'))]) {
    records.push(plain(1))
    addTo()
    end()
  }
  t.match(calls, [{ code: 'FST_SSE_LOG_UNAVAILABLE', cause: { message: /something else/ } },
    { code: 'FST_SSE_LOG_UNAVAILABLE', cause: { message: 'offline' } }])
})
