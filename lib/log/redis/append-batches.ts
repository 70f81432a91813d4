import { Fifo } from '../../fifo.ts'
import { sharedScope } from '../../scope.ts'
import { newEpoch } from '../epoch.ts'
import { append } from './append-script.ts'
import { ReplyError, type Commands } from './commands.ts'

/** The records of one channel, as the script receives them. */
export interface ChannelAppend {
  /** The hash, the stream, and the keys of appends by key. */
  readonly keys: readonly [hash: string, stream: string, ...keyed: string[]]
  readonly args: ReadonlyArray<string | number>
  readonly records: number
  /** Characters of their data. */
  readonly size: number
  readonly isWanted: () => boolean
}

export interface BatchOptions {
  /** The begin of the keys of receipts. */
  readonly key: string
  /** The number of commands under way at a time. */
  readonly count: number
  readonly publish: string
  /** The end of the names of Redis channels, after the key of the hash. */
  readonly suffix: string
  readonly secret: string
}

interface PendingAppend { append: ChannelAppend, resolve: (line: string) => void, reject: (error: unknown) => void }

/** A command at a time. Its answer can be requested again by the key of the receipt, and the number of the command. */
interface Sender { readonly receipt: string, number: number, busy: boolean }

const MAX_RECORDS = 256
const MAX_CHARACTERS = 128 * 1024

/**
 * Joins the appends of many channels in one command of Redis. While all senders wait for answers, appends queue up: the
 * higher the load, the lower the cost of an append. A channel has one append at a time here, so the senders keep its
 * order.
 */
export class AppendBatches {
  readonly #commands: Pick<Commands, 'run' | 'ready'>
  readonly #options: BatchOptions
  readonly #senders: Sender[]
  readonly #pending = new Fifo<PendingAppend>()
  #scheduled = false

  constructor (commands: Pick<Commands, 'run' | 'ready'>, options: BatchOptions) {
    this.#commands = commands
    this.#options = options
    const key = `${options.key}${newEpoch()}`
    const { count: length } = options
    this.#senders = Array.from({ length }, (_, n) => ({ receipt: `${key}:${n}`, number: 0, busy: false }))
  }

  /** Resolves to the line of the channel in the answer of the script; rejects if the command was rejected. */
  add (append: ChannelAppend): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ append, resolve, reject })
      if (this.#scheduled) return
      this.#scheduled = true
      // Appends of the same step join the command.
      sharedScope.runInAsyncScope(queueMicrotask, undefined, this.#start)
    })
  }

  readonly #start = (): void => {
    this.#scheduled = false
    for (const sender of this.#senders) {
      if (this.#pending.size === 0) return
      if (!sender.busy) this.#run(sender)
    }
  }

  async #run (sender: Sender): Promise<void> {
    sender.busy = true
    while (this.#pending.size > 0) {
      // Waits before it takes appends: those that are no longer wanted by then are not sent.
      const ready = this.#commands.ready()
      if (ready !== undefined) await ready
      const batch = this.#next()
      if (batch.length > 0) await this.#send(sender, batch)
    }
    sender.busy = false
  }

  #next (): PendingAppend[] {
    const batch: PendingAppend[] = []
    let [records, size] = [0, 0]
    while (this.#pending.size > 0 && records < MAX_RECORDS && size < MAX_CHARACTERS) {
      const pending = this.#pending.shift()!
      const { append } = pending
      if (append.isWanted()) {
        batch.push(pending)
        records += append.records
        size += append.size
      } else {
        pending.reject(new Error('the caller no longer waits for the command'))
      }
    }
    return batch
  }

  async #send (sender: Sender, batch: readonly PendingAppend[]): Promise<void> {
    const { publish, suffix, secret } = this.#options
    const keys = [sender.receipt]
    const args: Array<string | number> = [++sender.number, publish, suffix, secret, newEpoch(), batch.length]
    for (const { append: { keys: [hash, stream] } } of batch) keys.push(hash, stream)
    for (const { append } of batch) {
      for (let n = 2; n < append.keys.length; n++) keys.push(append.keys[n]!)
      for (const arg of append.args) args.push(arg)
    }
    try {
      const lines = await this.#commands.run(append, keys, args, () => batch.some(({ append }) => append.isWanted()))
      for (let n = 0; n < batch.length; n++) {
        const line = lines[n] ?? ''
        if (line.startsWith('-')) batch[n]!.reject(new ReplyError(line.slice(1)))
        else batch[n]!.resolve(line)
      }
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }
}
